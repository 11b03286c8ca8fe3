"""MLflow: its sqlite file, or a folder mlruns; read directly, no mlflow needed.

Params are the run's settings. sqlite keeps NaN apart and infinities as the largest float; both are turned back. Deleted
runs are skipped, and runs that failed or still go on are taken as far as they came.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import config_facts, plain_values
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import flat_yaml, plain_file, read_text, walk
from astraios.importers._runs import Found, Skipped, imported
from astraios.importers._sqlite import is_sqlite, opened, tables
from astraios.records import TaskRow


@dataclass
class Run:
    """One run of MLflow."""

    run_id: str
    name: str
    experiment: str
    status: str
    start_ms: int | None
    end_ms: int | None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[Series] = field(default_factory=list)


_TABLES = ("experiments", "runs", "metrics", "params", "tags")


@dataclass(frozen=True)
class MLflow(Importer):
    """Tracking stores, by file or folder."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if path.is_dir():
            return bool(_stores(path))
        return path.suffix in _ENDINGS and is_sqlite(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        kept: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for store in _stores(path) if path.is_dir() else [path]:
            with skipped.item(store):
                runs = _folder_runs(store, skipped) if store.is_dir() else _sqlite_runs(store, skipped)
                for run in runs:
                    with skipped.item(f"run {run.name}"):
                        one = found(run, wanted, store)
                        tasks |= fill(one, run.metrics, wanted, skipped)
                        if one.losses is not None and not len(one.losses) and not one.scores:
                            skipped.add(f"run {run.name}", "it logged no loss and no score")
                            continue
                        kept.append(one)
        return imported(self.name, kept, wanted, skipped, tasks)


mlflow = MLflow(name="mlflow", title="MLflow tracking store", maps=True)
_ENDINGS = (".db", ".sqlite", ".sqlite3")


def _stores(folder: Path) -> list[Path]:
    """Tracking stores in a folder: folders mlruns, or experiments of one, and sqlite files."""
    if any(True for _ in folder.glob("*/meta.yaml")):
        return [folder]
    homes = {path.parent.parent.parent for path in walk(folder, "meta.yaml") if (path.parent / "metrics").is_dir()}
    files = [path for path in walk(folder, *(f"*{end}" for end in _ENDINGS)) if is_sqlite(path)]
    return [*sorted(homes), *(path for path in files if tables(path) >= set(_TABLES))]


def found(run: Run, wanted: Wanted, store: Path) -> Found:
    """A run with its facts and settings, without its losses."""
    told = config_facts(mapped_config(plain_values(run.params), wanted), store)
    if run.start_ms:
        told.facts["created_at"] = _time(run.start_ms)
    done = run.start_ms and run.end_ms
    return Found(
        label=run.name,
        identity=[run.run_id],
        facts=told.facts,
        settings={
            "experiment": run.experiment, "run": run.run_id, "status": run.status, "params": run.params,
            "tags": {name: text for name, text in run.tags.items() if not name.startswith("mlflow.log-model")},
            **told.settings,
        },
        attempt={
            "started_at": _time(run.start_ms) if run.start_ms else None,
            "finished_at": _time(run.end_ms) if run.end_ms else None,
            "wall_seconds": (run.end_ms - run.start_ms) / 1000 if done and run.end_ms and run.start_ms else None,
        },
        source=told.source,
        place=f"{store}/{run.run_id}",
        ids={"mlflow": {"run": run.run_id}},
        named=True,
        unfinished="" if run.status in ("FINISHED", "") else run.status.lower(),
    )  # fmt: skip


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _sqlite_runs(path: Path, skipped: Skipped) -> Iterator[Run]:
    with opened(path, _TABLES, "MLflow's") as connection:
        yield from _read_sqlite(connection, skipped)


def _read_sqlite(connection: sqlite3.Connection, skipped: Skipped) -> Iterator[Run]:
    rows = connection.execute(
        "select r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage "
        "from runs r join experiments e using (experiment_id) order by r.start_time, r.run_uuid"
    ).fetchall()
    for key, name, experiment, status, start, end, stage in rows:
        if stage != "active":
            skipped.add(f"run {name or key}", "deleted in MLflow")
            continue
        run = Run(key, name or key, experiment, status or "", start, end)
        for table, into in (("params", run.params), ("tags", run.tags)):
            into.update(connection.execute(f"select key, value from {table} where run_uuid = ?", [key]).fetchall())
        metrics: dict[str, tuple[list[Any], list[float]]] = {}
        for metric, value, step, is_nan in connection.execute(
            "select key, value, step, is_nan from metrics where run_uuid = ? order by key, timestamp, rowid", [key]
        ):
            steps, values = metrics.setdefault(metric, ([], []))
            steps.append(step)
            values.append(math.nan if is_nan else _infinite(value))
        run.metrics = [Series(metric, steps, values) for metric, (steps, values) in metrics.items()]
        yield run


def _infinite(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _folder_runs(folder: Path, skipped: Skipped) -> Iterator[Run]:
    """Runs of mlruns, or of one experiment of it."""
    experiments = [folder] if plain_file(folder / "meta.yaml") else sorted(p.parent for p in folder.glob("*/meta.yaml"))
    for experiment in experiments:
        about = flat_yaml(experiment / "meta.yaml")
        if "run_id" in about or "run_uuid" in about:
            raise DataError(f"{experiment}: one run of MLflow: import the folder of its experiment")
        for meta in sorted(experiment.glob("*/meta.yaml")):
            with skipped.item(f"run {meta.parent.name}"):
                run = _folder_run(meta, about.get("name", experiment.name), skipped)
                if run is not None:
                    yield run


def _folder_run(meta: Path, experiment: str, skipped: Skipped) -> Run | None:
    facts, home = flat_yaml(meta), meta.parent
    key = facts.get("run_id") or facts.get("run_uuid")
    if not key:
        return None
    name = facts.get("run_name") or key
    if facts.get("lifecycle_stage", "active") != "active":
        skipped.add(f"run {name}", "deleted in MLflow")
        return None
    return Run(
        key, name, experiment, _STATUS.get(facts.get("status", ""), ""),
        _milliseconds(meta, facts, "start_time"), _milliseconds(meta, facts, "end_time"),
        _values(home / "params"), _values(home / "tags"),
        [_metric(path, home / "metrics") for path in walk(home / "metrics", "*")],
    )  # fmt: skip


_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


def _milliseconds(meta: Path, facts: dict[str, str], name: str) -> int | None:
    text = facts.get(name, "null")
    if text in ("null", ""):
        return None
    if not text.isdigit():
        raise DataError(f"{meta}: {name} should be a number of milliseconds, not {text!r}")
    return int(text)


def _values(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): read_text(path) for path in walk(folder, "*")}


def _metric(path: Path, root: Path) -> Series:
    steps, values = [], []
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        try:
            values.append(float(parts[1]))
            steps.append(parts[2] if len(parts) > 2 else 0)
        except (IndexError, ValueError):
            raise DataError(f"{path}: line {number}: a time, a value and a step were expected") from None
    if text and not text.endswith("\n"):
        raise DataError(f"{path}: line {len(values)}: the file ends within the line")
    return Series(str(path.relative_to(root)), steps, values)
