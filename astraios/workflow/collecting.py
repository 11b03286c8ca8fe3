"""Collecting: a sweep from its plan to the database, and how its runs stand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store

if TYPE_CHECKING:
    from astraios.collect.launch import Event, Job
    from astraios.collect.plan import Plan as CellPlan
    from astraios.collect.run import Outcome
    from astraios.collect.sweep import Sweep


def plan(sweep_name: str, only: Sequence[str]) -> tuple[Sweep, list[CellPlan]]:
    """A sweep and its cells.

    Raises:
        UsageError: no such sweep, or it is malformed.
    """
    from astraios.collect.run import plan as plan_cells
    from astraios.collect.sweep import Sweep

    sweep = Sweep.read(sweep_name)
    return sweep, plan_cells(sweep, list(only))


def collect(
    sweep: Sweep,
    plans: list[CellPlan],
    out: Path,
    db: Path,
    launcher: str,
    start: Callable[[list[Job]], None],
    tell: Callable[[Event], None],
) -> tuple[Outcome, store.IngestReport]:
    """Runs what is left of a sweep; each run goes into the database when it is done.

    Raises:
        StoreError: the database can't be written; what was trained is in the run directories all the same.
    """
    from astraios.collect.run import collect as run_cells

    with _Ingester(db, out) as ingester:

        def told(event: Event) -> None:
            tell(event)
            if event.kind in ("done", "failed"):
                ingester.wake()

        outcome = run_cells(sweep, plans, out, launcher, told, start)
    return outcome, store.ingest(db, out)


def run_cell(file: Path, out: Path, tell: Callable[[str, int, int], None]) -> None:
    """Runs one cell of a sweep that was planned elsewhere, in this process.

    Raises:
        UsageError: the file makes no sense.
        AstraiosError: the cell failed; the reason stands in its run directory too.
    """
    from astraios.collect.contract import run_file

    run_file(file, out, tell)


class _Ingester:
    """Takes finished runs into the database beside the training, so that no cell waits for it."""

    def __init__(self, db: Path, out: Path) -> None:
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


def status(out: Path, sweep_name: str | None) -> list[dict[str, Any]]:
    """How the runs stand: those in the folder, and where a sweep is named those that it still lacks."""
    from astraios.collect.spool import RunDirectory

    rows = []
    wanted: dict[str, tuple[str, str, int]] = {}
    if sweep_name:
        from astraios.collect.sweep import Sweep

        wanted = {cell.run_id: (cell.model_id, cell.method_id, cell.seed) for cell in Sweep.read(sweep_name).cells()}
    folders = {path.parent.name: path.parent for path in out.glob("*/cell.json")} if out.is_dir() else {}
    for run_id in [*wanted, *(name for name in sorted(folders) if name not in wanted)]:
        rows.append(_status_row(run_id, RunDirectory(folders[run_id]) if run_id in folders else None, wanted))
    return rows


def _status_row(run_id: str, directory: Any, wanted: dict[str, tuple[str, str, int]]) -> dict[str, Any]:
    import json

    state, reason, step = "waiting", None, None
    if directory is not None:
        attempts, manifest = directory.attempts(), directory.manifest()
        state = manifest["state"] if manifest else "started"
        if attempts and attempts[-1]["state"] == "started":
            state = "started"
        if state == "failed":
            reason = attempts[-1].get("error")
        losses = directory.losses()
        step = max((point.step for point in losses), default=0)
    if run_id in wanted:
        model_id, method_id, seed = wanted[run_id]
    else:
        cell = json.loads((directory.path / "cell.json").read_text(encoding="utf-8"))
        model_id, method_id, seed = cell["model_id"], cell["method_id"], cell["seed"]
    return {
        "run_id": run_id,
        "model_id": model_id,
        "method_id": method_id,
        "seed": seed,
        "state": state,
        "step": step,
        "reason": reason,
    }
