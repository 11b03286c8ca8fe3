"""A sweep from its plan to its last run directory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from astraios.collect.launch import LAUNCHERS, Event, Orders
from astraios.collect.launch.schedule import HOPELESS, Ends, Judge, run_jobs
from astraios.collect.plan.axes import axes_of, label
from astraios.collect.plan.cell_plan import Plan, describe
from astraios.collect.plan.cost import refuse_misfits
from astraios.collect.plan.engine import refuse_unserved
from astraios.collect.plan.job import Job
from astraios.collect.plan.keep import check_disk
from astraios.collect.plan.known import Near, found_in, nearest, with_stored
from astraios.collect.plan.sweep import Sweep
from astraios.errors import StoreError, UsageError, why
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


def plan(sweep: Sweep, only: list[str], launcher: str = "local", devices: int | None = None) -> list[Plan]:
    """The cells of a sweep with their sizes and costs; nothing is run.

    Args:
        sweep: the request.
        only: KEY=VALUE filters.
        launcher: where they would run; what does not fit there has that as its problem.
        devices: how many there are for a cell, where that is known; what wants more has that as its problem.

    Raises:
        UsageError: a [launch] table makes no sense; or no cell can be run, with the first one's reason.
    """
    check_launch(sweep)
    where, compute = LAUNCHERS.get(launcher), sweep.compute
    device = where.device() if compute.device == "auto" else compute.device
    memory = compute.device_memory_gb * GB if compute.device_memory_gb else where.device_memory(device)
    described = [describe(cell, device) for cell in sweep.cells(only)]
    plans = refuse_unserved(refuse_misfits(described, memory, devices), sweep.keep)
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
    cells = [p for p in plans if not is_done(p, out)]
    jobs, bases = [], set()
    axes = axes_of(p.cell for p in plans)
    for p in cells:
        ladder, rung = resolve(p.cell.model_id)
        base_key = f"base {rung.model_id}"
        if base_key not in bases and not p.problem and not ladder.is_ready(rung.model_id):
            bases.add(base_key)
            jobs.append(Job(base_key, base_key, rung.model_id, 10 * p.train_flops, stage="base"))
        after = base_key if base_key in bases else None
        job = Job(p.cell.run_id, label(p.cell, axes), rung.model_id, p.train_flops, p, after)
        jobs += _split(job, out) if stages == "split" else [job]
    return jobs


def is_done(p: Plan, out: Path) -> bool:
    """Whether a cell is trained and scored on all tasks that are asked for."""
    try:
        return RunDirectory(out / p.cell.run_id).is_done(p.cell.asked)
    except (UnreadableError, KeyError, TypeError):
        # Garbage: its next attempt sets it aside.
        return False


@dataclass(frozen=True)
class CellState:
    """A cell before anything is run: what there is of it."""

    plan: Plan
    """With the id of the run directory that holds the cell, where one of before does."""
    state: str
    """done, started, or new."""
    tasks_left: tuple[str, ...]
    """Of a cell that is trained: what it is still to be scored on."""
    near: Near | None
    """Of a new one: the run most like it, where the two differ in few settings."""


def states(plans: list[Plan], out: str | Path) -> list[CellState]:
    """What there is of the cells of a sweep; nothing is run or written.

    Args:
        plans: its cells.
        out: folder of the run directories, or its URL.
    """
    place = Place(out)
    place.fetch()
    found = found_in(place.path)
    plans = with_stored(plans, place.path, found)
    own = {p.cell.run_id for p in plans}
    names = {one.name for one in found}
    new = [p.cell for p in plans if p.cell.run_id not in names]
    near = nearest(new, [one for one in found if one.name not in own])
    return [_state(p, place.path, names, near.get(p.cell.run_id)) for p in plans]


def _state(p: Plan, out: Path, names: Collection[str], near: Near | None) -> CellState:
    if p.cell.run_id not in names:
        return CellState(p, "new", (), near)
    directory = RunDirectory(out / p.cell.run_id)
    if is_done(p, out):
        return CellState(p, "done", (), None)
    trained = is_done(replace(p, cell=replace(p.cell, tasks=())), out)
    wanted = zip(p.cell.tasks, p.cell.asked, strict=True) if trained else ()
    left = tuple(name for name, asked in wanted if not directory.is_done([asked]))
    return CellState(p, "started", left, None)


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
        raise StoreError(f"{place.path}: can't be made ({why(error)}); choose another folder with --out") from None
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
