"""Collecting: a sweep from its plan to the database, and how its runs stand."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.collect.plan.compute import Hardware
from astraios.errors import UsageError

if TYPE_CHECKING:
    from astraios.collect.launch import Event
    from astraios.collect.plan.cell_plan import Plan as CellPlan
    from astraios.collect.plan.cost import Totals
    from astraios.collect.plan.evaluation import Rates, TaskPlan
    from astraios.collect.plan.job import Job
    from astraios.collect.plan.sweep import Sweep
    from astraios.collect.run import CellState, Outcome
    from astraios.runs.status import Summary as StatusSummary


def plan(
    sweep_name: str,
    only: Sequence[str],
    launcher: str = "local",
    hardware: Hardware | None = None,
    data_dir: Path | None = None,
) -> tuple[Sweep, list[CellPlan]]:
    """A sweep and its cells.

    Args:
        sweep_name: a TOML file or a built-in sweep.
        only: KEY=VALUE filters.
        launcher: where its cells would run.
        hardware: devices to plan for in place of those that are found.
        data_dir: folder of gold data, where the sweep names none.

    Raises:
        UsageError: no such sweep, or it is malformed.
    """
    from astraios.collect.cell.distributed import Machines
    from astraios.collect.plan.sweep import Sweep
    from astraios.collect.run import plan as plan_cells

    sweep = Sweep.read(sweep_name)
    if data_dir:
        sweep = dataclasses.replace(sweep, task={"data_dir": str(data_dir), **sweep.task})
    if hardware:
        sweep = dataclasses.replace(sweep, compute=hardware.over(sweep.compute))
    devices = hardware.devices * Machines.here().count if hardware and hardware.devices else None
    return sweep, plan_cells(sweep, list(only), launcher, devices)


def estimated(
    sweep: Sweep, plans: Sequence[CellPlan], db: Path, out: str | Path, devices: int | None = None
) -> tuple[list[dict[str, Any]], Totals]:
    """Rows of a plan with device-hours, price, tasks and what there is of each cell, and the sums.

    Throughput is given by the sweep, or as measured.

    Raises:
        DataError: a folder of gold data is not there.
    """
    from astraios.collect.plan.cost import estimate, totals
    from astraios.collect.plan.evaluation import task_plans
    from astraios.collect.run import states

    device = "cpu" if all(p.device == "cpu" for p in plans) else "cuda"
    measured = {} if sweep.compute.flops_per_second else measured_rates(db, plans)
    tasks, rates = task_plans(sweep), _sample_rates(db, device)
    found = states(list(plans), out)
    estimates = [estimate(p, sweep.compute, measured, tasks, rates) for p in plans]
    rows = [
        {
            **s.plan.to_dict(), "device_hours": e.device_hours, "price": e.price,
            "evaluation_hours": e.evaluation_hours, "evaluation_price": e.evaluation_price,
            "tasks": [_task_row(task, s.plan, rates) for task in tasks], **_state(s),
        }
        for s, e in zip(found, estimates, strict=True)
    ]  # fmt: skip
    return rows, totals(plans, estimates, sweep.compute, measured, devices, tasks, rates)


def _task_row(task: TaskPlan, plan: CellPlan, rates: Rates) -> dict[str, Any]:
    return {
        "task": task.name,
        "gold": task.state,
        "where": task.where,
        "n_problems": task.n_problems,
        "n_samples": task.n_samples,
        "device_hours": task.hours(plan, rates),
    }


def lacking(sweep: Sweep, plans: Sequence[CellPlan]) -> tuple[list[CellPlan], dict[str, str]]:
    """Plans without the tasks whose gold data can't be had, and those tasks with the way to get them.

    What is on the hub is fetched here, before anything is trained.
    """
    from astraios.collect.plan.evaluation import lacking as lacking_gold
    from astraios.collect.plan.evaluation import without

    missing = lacking_gold(sweep)
    return without(plans, missing), missing


def engines(sweep: Sweep, plans: Sequence[CellPlan], launcher: str) -> list[str]:
    """What generates the answers of the cells, in words; nothing where no task generates."""
    from astraios.collect.plan.engine import in_words

    return in_words(plans, sweep.keep, launcher == "local")


def _state(cell: CellState) -> dict[str, Any]:
    near = cell.near
    differences = [dataclasses.asdict(one) for one in near.differences] if near else []
    return {
        "state": cell.state,
        "tasks_left": list(cell.tasks_left),
        "near": {"run_id": near.run_id, "differences": differences} if near else None,
    }


_RATES = """
select n_params, median(train_flops / device_seconds) as rate
from run join latest_attempt using (run_id) join environment using (environment_id)
where (environment.device = 'cpu') = {on_cpu}
  and origin = 'measured' and state = 'done' and device_seconds > 0 and train_flops > 0
group by n_params
"""


_SAMPLES = """
select task_id, n_shot, n_params, median(seconds) as seconds
from (
    select e.task_id, e.n_shot, r.n_params, e.wall_seconds / count(*) as seconds
    from evaluation e
    join latest_attempt a using (run_id, attempt)
    join environment v using (environment_id)
    join run r using (run_id)
    join sample_score s using (run_id, attempt, task_id, n_shot)
    where (v.device = 'cpu') = {on_cpu} and r.origin = 'measured' and e.wall_seconds > 0
        and coalesce(e.settings ->> '$.engine', '') <> 'vllm'
    group by e.run_id, e.attempt, e.task_id, e.n_shot, r.n_params, e.wall_seconds
)
group by task_id, n_shot, n_params
"""


def _sample_rates(db: Path, device: str) -> Rates:
    """Seconds that a sample of each task took on a device of this kind, by the base's parameters; with transformers,
    which takes longer than vLLM and answers for every cell."""
    from astraios.collect.plan.evaluation import Rate

    found: dict[tuple[str, int], list[Rate]] = {}
    if db.exists():
        for task_id, n_shot, n_params, seconds in store.query(
            db, _SAMPLES.format(on_cpu=str(device == "cpu").lower())
        ).rows():
            found.setdefault((task_id, n_shot), []).append(Rate(n_params, seconds))
    return found


def measured_rates(db: Path, plans: Sequence[CellPlan]) -> dict[int, float]:
    """Operations a second that a device of the cells' kind sustained in training, by the base's parameters."""
    return _measured(db, "cpu" if all(p.device == "cpu" for p in plans) else "cuda")


def _measured(db: Path, device: str) -> dict[int, float]:
    """Operations a second that a device of this kind (cpu or cuda) sustained in training, by the base's parameters."""
    if not db.exists():
        return {}
    return dict(store.query(db, _RATES.format(on_cpu=str(device == "cpu").lower())).rows())


def one_of_machines(share: str | None, address: str) -> bool:
    """Takes in which of several machines this is; whether it is the first, which has the run directories.

    Raises:
        UsageError: K/N or HOST:PORT makes no sense.
    """
    if share is None:
        if address:
            raise UsageError("--meet goes with --machine K/N")
        return True
    from astraios.collect.cell.distributed import Machines

    machines = Machines.of(share, address)
    machines.tell_children()
    return machines.number == 0


def collect(
    sweep: Sweep,
    plans: list[CellPlan],
    out: str | Path,
    db: Path,
    launcher: str,
    start: Callable[[list[Job]], None],
    tell: Callable[[Event], None],
) -> tuple[Outcome, store.IngestReport]:
    """Runs what is left of a sweep; each run goes into the database when it is done.

    Raises:
        StoreError: the database can't be written; what was trained is in the run directories all the same.
    """
    from astraios.collect.cell.distributed import Machines, check_machines
    from astraios.collect.plan.known import with_stored
    from astraios.collect.run import collect as run_cells
    from astraios.runs.place import Place

    place = Place(out)
    place.fetch()
    plans = with_stored(plans, place.path)

    if Machines.here().count > 1:
        check_machines(plans)
    with _Ingester(db, out) as ingester:

        def told(event: Event) -> None:
            tell(event)
            if event.kind in ("done", "failed", "stopped"):
                ingester.wake()

        store.set_composites(db, sweep.composite_rows())
        outcome = run_cells(sweep, plans, out, launcher, told, start, _judge(sweep, plans, out))
    return outcome, store.ingest(db, out)


def join(sweep: Sweep, plans: Sequence[CellPlan], out: str | Path, tell: Callable[[str, int, int], None]) -> None:
    """Trains one cell's share of this machine, of several that train it together and of which this is not the first.

    Raises:
        UsageError: not one cell, or one that a single process trains.
        CellError: a process failed, here or on another machine.
    """
    from astraios.collect.cell.distributed import check_machines, train
    from astraios.models.ladders import resolve

    cell = check_machines(plans)
    ladder, rung = resolve(cell.model_id)
    ladder.prepare(rung.model_id)
    device = sweep.compute.device if sweep.compute.device != "auto" else plans[0].device
    train(cell, Path(out) / cell.run_id, device, tell)


def _judge(sweep: Sweep, plans: Sequence[CellPlan], out: str | Path) -> Any:
    """Who says which cells are hopeless, where the sweep asks for it."""
    if sweep.compute.stop_hopeless is None:
        return None
    from astraios.runs.place import Place
    from astraios.workflow.stopping import judge

    return judge(Place(out), plans, sweep.compute.stop_hopeless)


def run_cell(file: Path, out: str | Path, tell: Callable[[str, int, int], None]) -> None:
    """Runs one cell of a sweep that was planned elsewhere, in this process.

    Raises:
        UsageError: the file makes no sense.
        AstraiosError: the cell failed; the reason stands in its run directory too.
    """
    from astraios.collect.cell.process import run_file

    run_file(file, str(out), tell)


class _Ingester:
    """Takes finished runs into the database beside the training, so that no cell waits for it."""

    def __init__(self, db: Path, out: str | Path) -> None:
        self.db, self.out = db, out
        self.news, self.ended = threading.Event(), False
        self.thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> _Ingester:
        # The first one makes the database, and says at once when that can't be done.
        store.ingest(self.db, self.out)
        self.thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.ended = True
        self.news.set()
        self.thread.join()

    def wake(self) -> None:
        self.news.set()

    def _work(self) -> None:
        while not self.ended:
            self.news.wait()
            self.news.clear()
            try:
                store.ingest(self.db, self.out)
            except Exception:
                # Nothing is lost: the last ingest of the command meets the same trouble and reports it.
                continue


def status(
    out: str | Path, sweep_name: str | None, db: Path | None = None, study: str | None = None
) -> tuple[list[dict[str, Any]], StatusSummary]:
    """How the runs stand: those in the folder, and where a sweep is named those that it still lacks; and in sum.

    Where a study of the database is named, only its runs.
    """
    from astraios.runs.place import Place
    from astraios.runs.status import standings, summary

    place = Place(out)
    place.fetch()
    wanted: dict[str, tuple[str, str, int]] = {}
    flops: dict[str, float] = {}
    if sweep_name:
        from astraios.collect.plan.cell_plan import describe
        from astraios.collect.plan.known import with_stored
        from astraios.collect.plan.sweep import Sweep

        sweep = Sweep.read(sweep_name)
        for p in with_stored([describe(cell, sweep.compute.device) for cell in sweep.cells()], place.path):
            wanted[p.cell.run_id] = (p.cell.model_id, p.cell.method_id, p.cell.seed)
            flops[p.cell.run_id] = p.train_flops
    found = standings(place.path, wanted)
    if study is not None:
        path = store.database_path(db)
        with store.reading(path) as connection:
            chosen = store.choose_study(connection, path, study)
            rows = store.run_query(connection, f"select run_id from run_study where {chosen.condition_of_key}")
        found = [row for row in found if row.run_id in set(rows["run_id"])]
    return [row.to_dict() for row in found], summary(found, flops)
