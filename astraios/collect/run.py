"""A sweep from its plan to its last run directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from astraios.collect.launch import LAUNCHERS, Event, Orders
from astraios.collect.launch.schedule import HOPELESS, Ends, Judge, run_jobs
from astraios.collect.plan.cell_plan import Plan, describe
from astraios.collect.plan.cost import refuse_misfits
from astraios.collect.plan.job import Job
from astraios.collect.plan.keep import check_disk
from astraios.collect.plan.sweep import Sweep
from astraios.errors import StoreError, UsageError
from astraios.models.ladders import resolve
from astraios.runs.directory import RunDirectory, UnreadableError
from astraios.runs.place import Place
from astraios.train.memory import GB


@dataclass(frozen=True)
class Outcome:
    """What became of a sweep's cells."""

    n_cells: int
    n_skipped: int
    """Cells that were done before."""
    failed: Mapping[str, str]
    """Reasons by run_id (or base model)."""
    stopped: Mapping[str, str]
    """Reasons by run_id of those that were ended early as hopeless, now or before."""


def plan(sweep: Sweep, only: list[str], launcher: str = "local") -> list[Plan]:
    """The cells of a sweep with their sizes and costs; nothing is run.

    Args:
        sweep: the request.
        only: KEY=VALUE filters.
        launcher: where they would run; what does not fit there has that as its problem.

    Raises:
        UsageError: a [launch] table makes no sense; or no cell can be run, with the first one's reason.
    """
    check_launch(sweep)
    where, compute = LAUNCHERS.get(launcher), sweep.compute
    device = where.device() if compute.device == "auto" else compute.device
    memory = compute.device_memory_gb * GB if compute.device_memory_gb else where.device_memory(device)
    plans = refuse_misfits([describe(cell, device) for cell in sweep.cells(only)], memory)
    if all(p.problem for p in plans):
        raise UsageError(f"sweep {sweep.name!r}: {plans[0].problem}")
    return plans


def check_launch(sweep: Sweep) -> None:
    """Refuses [launch.NAME] tables that no launcher understands.

    Raises:
        UsageError: the line names the field.
    """
    for launcher, asked in sweep.launch.items():
        try:
            LAUNCHERS.get(launcher).check(asked)
        except UsageError as error:
            raise UsageError(f"sweep {sweep.name!r}: {error}") from None


def jobs_for(plans: list[Plan], out: Path, stages: str = "together") -> list[Job]:
    """What is left to do: cells that are not done, and the base models that they need and nobody has built yet.

    Args:
        plans: the sweep's cells.
        out: folder of the run directories.
        stages: together, or split: training and evaluation are jobs of their own.
    """
    cells = [p for p in plans if not _is_done(p, out)]
    jobs, bases = [], set()
    rates: dict[str, set[float | None]] = {}
    for p in plans:
        rates.setdefault(p.cell.method_id, set()).add(p.cell.train.learning_rate)
    for p in cells:
        ladder, rung = resolve(p.cell.model_id)
        base_key = f"base {rung.model_id}"
        if base_key not in bases and not p.problem and not ladder.is_ready(rung.model_id):
            bases.add(base_key)
            jobs.append(Job(base_key, base_key, rung.model_id, 10 * p.train_flops, stage="base"))
        label = f"{p.cell.model_id} {p.cell.method_id} seed {p.cell.seed}"
        if len(rates[p.cell.method_id]) > 1:
            label += f" rate {p.cell.train.learning_rate:g}"
        after = base_key if base_key in bases else None
        job = Job(p.cell.run_id, label, rung.model_id, p.train_flops, p, after)
        jobs += _split(job, out) if stages == "split" else [job]
    return jobs


def _is_done(p: Plan, out: Path) -> bool:
    try:
        return RunDirectory(out / p.cell.run_id).is_done(p.cell.tasks)
    except (UnreadableError, KeyError, TypeError):
        # Garbage: its next try sets it aside.
        return False


def _split(job: Job, out: Path) -> list[Job]:
    """Training and evaluation of a cell; the evaluation alone where it is trained."""
    assert job.plan is not None
    evaluate = replace(job, label=f"{job.label}, evaluation", stage="evaluate")
    try:
        if RunDirectory(out / job.key).is_trained():
            return [evaluate]
    except (UnreadableError, KeyError, TypeError):
        pass
    train = replace(job, key=f"{job.key}-train", label=f"{job.label}, training", stage="train")
    # What evaluation costs is not known beforehand; a tenth of the training puts it behind trainings that are ready.
    return [train, replace(evaluate, after=train.key, weight=job.weight / 10)]


def collect(
    sweep: Sweep,
    plans: list[Plan],
    out: str | Path,
    launcher: str,
    tell: Callable[[Event], None],
    start: Callable[[list[Job]], None] = lambda jobs: None,
    judge: Judge | None = None,
) -> Outcome:
    """Runs what is left of a sweep.

    Args:
        sweep: the request.
        plans: its cells, as `plan` gave them.
        out: folder of the run directories, made where it is missing; or its URL.
        launcher: name of a registered launcher.
        tell: called with each event.
        start: called with the jobs before the first one starts.
        judge: says which cells are hopeless, where the sweep wants them ended early.

    Raises:
        StoreError: the folder can't be written, or would outgrow the sweep's disk budget.
    """
    place = Place(out)
    try:
        place.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{place.path}: can't be made ({error.strerror}); choose another folder with --out") from None
    place.fetch()
    jobs = jobs_for(plans, place.path, sweep.compute.stages)
    stopped = _stopped_before(jobs, place.path) if sweep.compute.stop_hopeless else {}
    jobs = [job for job in jobs if job.plan is None or job.plan.cell.run_id not in stopped]
    left = {job.plan.cell.run_id: job.plan for job in jobs if job.plan}
    check_disk(list(left.values()), sweep.keep, place.path)
    start(jobs)
    orders = Orders(sweep.to_json(), place, sweep.compute, sweep.launch.get(launcher, {}))
    ends = run_jobs(LAUNCHERS.get(launcher), jobs, orders, tell, judge) if jobs else Ends({}, {})
    run_ids = {job.key: job.plan.cell.run_id for job in jobs if job.plan}
    failed = {run_ids.get(key, key): reason for key, reason in ends.failed.items()}
    stopped |= {run_ids[key]: reason for key, reason in ends.stopped.items()}
    return Outcome(len(plans), len(plans) - len(left) - len(set(stopped) - set(left)), failed, stopped)


def _stopped_before(jobs: list[Job], out: Path) -> dict[str, str]:
    """Cells that an earlier command ended as hopeless: they stay so."""
    found = {}
    for job in jobs:
        if job.plan:
            tries = RunDirectory(out / job.plan.cell.run_id).attempts()
            reason = str(tries[-1].get("error") or "") if tries else ""
            if reason.startswith(HOPELESS):
                found[job.plan.cell.run_id] = reason
    return found
