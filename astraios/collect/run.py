"""A sweep from its plan to its last run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astraios.collect.keep import check_disk
from astraios.collect.ladders import resolve
from astraios.collect.launch import LAUNCHERS, Event, Job
from astraios.collect.plan import Plan, describe
from astraios.collect.spool import RunDirectory
from astraios.collect.sweep import Sweep
from astraios.errors import StoreError, UsageError


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep's cells."""

    n_cells: int
    n_skipped: int
    """Cells that were done before."""
    failed: Mapping[str, str]
    """Reasons by run_id (or base model)."""


def plan(sweep: Sweep, only: list[str]) -> list[Plan]:
    """The cells of a sweep with their sizes and costs; nothing is run.

    Raises:
        UsageError: no cell can be run; the first one's reason.
    """
    plans = [describe(cell) for cell in sweep.cells(only)]
    if all(p.problem for p in plans):
        raise UsageError(f"sweep {sweep.name!r}: {plans[0].problem}")
    return plans


def jobs_for(plans: list[Plan], out: Path) -> list[Job]:
    """What is left to do: cells that are not done, and the base models that they need and nobody has built yet."""
    cells = [p for p in plans if not RunDirectory(out / p.cell.run_id).is_done(p.cell.tasks)]
    jobs, bases = [], set()
    rates: dict[str, set[float | None]] = {}
    for p in plans:
        rates.setdefault(p.cell.method_id, set()).add(p.cell.train.learning_rate)
    for p in cells:
        ladder, rung = resolve(p.cell.model_id)
        base_key = f"base {rung.model_id}"
        if not ladder.is_ready(rung.model_id) and base_key not in bases:
            bases.add(base_key)
            jobs.append(Job(base_key, base_key, rung.model_id, 10 * p.train_flops))
        label = f"{p.cell.model_id} {p.cell.method_id} seed {p.cell.seed}"
        if len(rates[p.cell.method_id]) > 1:
            label += f" rate {p.cell.train.learning_rate:g}"
        after = base_key if base_key in bases else None
        jobs.append(Job(p.cell.run_id, label, rung.model_id, p.train_flops, p.cell, after))
    return jobs


def collect(
    sweep: Sweep,
    plans: list[Plan],
    out: Path,
    launcher: str,
    tell: Callable[[Event], None],
    start: Callable[[list[Job]], None] = lambda jobs: None,
) -> Outcome:
    """Runs what is left of a sweep.

    Args:
        sweep: the request.
        plans: its cells, as `plan` gave them.
        out: folder of the run directories; made where it is missing.
        launcher: name of a registered launcher.
        tell: called with each event.
        start: called with the jobs before the first one starts.

    Raises:
        StoreError: the folder can't be written, or would outgrow the sweep's disk budget.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{out}: can't be made ({error.strerror}); choose another folder with --out") from None
    jobs = jobs_for(plans, out)
    left = {job.key for job in jobs}
    check_disk([p for p in plans if p.cell.run_id in left], sweep.keep, out)
    start(jobs)
    failed = LAUNCHERS.get(launcher).run(jobs, sweep.to_json(), out, sweep.compute, tell) if jobs else {}
    n_left = sum(job.cell is not None for job in jobs)
    return Outcome(len(plans), len(plans) - n_left, failed)
