"""MLflow: its sqlite file, or a folder mlruns; read directly, no mlflow needed.

Params are the run's settings. sqlite keeps NaN apart and infinities as the largest float; both are turned back. Deleted
runs are skipped, and runs that failed or still go on are taken as far as they came.
"""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import head, read_text
from astraios.importers._models import from_config
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.records import TaskRow

_MAGIC = b"SQLite format 3\0"


@dataclass
class _Run:
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


@dataclass(frozen=True)
class MLflow(Importer):
    """A tracking store, by file or folder."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if path.is_dir():
            return any(True for _ in path.glob("*/meta.yaml"))
        return head(path, 16) == _MAGIC and path.suffix in (".db", ".sqlite", ".sqlite3")

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        runs = _folder_runs(path, skipped) if path.is_dir() else _sqlite_runs(path, skipped)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for run in runs:
            one = _found(run, wanted)
            tasks |= fill(one, run.metrics, wanted, skipped)
            if one.losses is not None and not len(one.losses) and not one.scores:
                skipped.add(f"run {run.name}", "it logged no loss and no score")
                continue
            found.append(one)
        return imported(self.name, found, wanted, skipped, tasks)


mlflow = MLflow(name="mlflow", title="MLflow tracking store", maps=True)


def _found(run: _Run, wanted: Wanted) -> Found:
    facts = from_config(mapped_config(run.params, wanted))
    if run.start_ms:
        facts["created_at"] = _time(run.start_ms)
    done = run.start_ms and run.end_ms
    return Found(
        label=run.name,
        identity=[run.run_id],
        facts=facts,
        settings={
            "experiment": run.experiment, "run": run.run_id, "status": run.status, "params": run.params,
            "tags": {name: text for name, text in run.tags.items() if not name.startswith("mlflow.log-model")},
        },
        attempt={
            "started_at": _time(run.start_ms) if run.start_ms else None,
            "finished_at": _time(run.end_ms) if run.end_ms else None,
            "wall_seconds": (run.end_ms - run.start_ms) / 1000 if done and run.end_ms and run.start_ms else None,
        },
    )  # fmt: skip


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def _sqlite_runs(path: Path, skipped: Skipped) -> Iterator[_Run]:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            wrong = connection.execute("pragma quick_check(1)").fetchone()
            if wrong[0] != "ok":
                raise DataError(f"{path}: damaged: {' '.join(wrong[0].split())}")
            tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
            if not {"experiments", "runs", "metrics", "params", "tags"} <= tables:
                raise DataError(f"{path}: an sqlite file, but not MLflow's: it has no runs, metrics, params and tags")
            yield from _read_sqlite(connection, path, skipped)
    except sqlite3.Error as error:
        raise DataError(f"{path}: not an sqlite file that can be read ({error})") from None


def _read_sqlite(connection: sqlite3.Connection, path: Path, skipped: Skipped) -> Iterator[_Run]:
    rows = connection.execute(
        "select r.run_uuid, r.name, e.name, r.status, r.start_time, r.end_time, r.lifecycle_stage "
        "from runs r join experiments e using (experiment_id) order by r.start_time, r.run_uuid"
    ).fetchall()
    for key, name, experiment, status, start, end, stage in rows:
        if stage != "active":
            skipped.add(f"run {name or key}", "deleted in MLflow")
            continue
        run = _Run(key, name or key, experiment, status or "", start, end)
        for table, into in (("params", run.params), ("tags", run.tags)):
            into.update(connection.execute(f"select key, value from {table} where run_uuid = ?", [key]).fetchall())
        metrics: dict[str, tuple[list[int], list[float]]] = {}
        for metric, value, step, is_nan in connection.execute(
            "select key, value, step, is_nan from metrics where run_uuid = ? order by key, timestamp, rowid", [key]
        ):
            steps, values = metrics.setdefault(metric, ([], []))
            steps.append(step_number(step, f"{path}: run {key}, metric {metric}"))
            values.append(math.nan if is_nan else _infinite(value))
        run.metrics = [Series(metric, steps, values) for metric, (steps, values) in metrics.items()]
        yield run


def _infinite(value: float) -> float:
    return math.copysign(math.inf, value) if abs(value) == sys.float_info.max else value


def _folder_runs(folder: Path, skipped: Skipped) -> Iterator[_Run]:
    """Runs of mlruns, or of one experiment of it."""
    experiments = [folder] if (folder / "meta.yaml").is_file() else sorted(p.parent for p in folder.glob("*/meta.yaml"))
    for experiment in experiments:
        about = _flat_yaml(experiment / "meta.yaml")
        if "run_id" in about or "run_uuid" in about:
            raise DataError(f"{experiment}: one run of MLflow: import the folder of its experiment")
        for meta in sorted(experiment.glob("*/meta.yaml")):
            facts, home = _flat_yaml(meta), meta.parent
            key = facts.get("run_id") or facts.get("run_uuid")
            if not key:
                continue
            name = facts.get("run_name") or key
            if facts.get("lifecycle_stage", "active") != "active":
                skipped.add(f"run {name}", "deleted in MLflow")
                continue
            yield _Run(
                key, name, about.get("name", experiment.name), _STATUS.get(facts.get("status", ""), ""),
                _milliseconds(meta, facts, "start_time"), _milliseconds(meta, facts, "end_time"),
                _values(home / "params"), _values(home / "tags"),
                [_metric(path, home / "metrics") for path in sorted((home / "metrics").rglob("*")) if path.is_file()],
            )  # fmt: skip


_STATUS = {"1": "RUNNING", "2": "SCHEDULED", "3": "FINISHED", "4": "FAILED", "5": "KILLED"}


def _milliseconds(meta: Path, facts: dict[str, str], name: str) -> int | None:
    text = facts.get(name, "null")
    if text in ("null", ""):
        return None
    if not text.isdigit():
        raise DataError(f"{meta}: {name} should be a number of milliseconds, not {text!r}")
    return int(text)


def _flat_yaml(path: Path) -> dict[str, str]:
    """The names and plain values that MLflow writes to meta.yaml, one a line."""
    found = {}
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith((" ", "- ")):
            continue
        name, colon, value = line.partition(":")
        if not colon or not name.replace("_", "").isalnum():
            raise DataError(f"{path}: line {number}: a name and a value were expected")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1].replace("''", "'") if value[0] == "'" else value[1:-1]
        found[name] = value
    return found


def _values(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): read_text(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _metric(path: Path, root: Path) -> Series:
    steps, values = [], []
    text = read_text(path)
    for number, line in enumerate(text.splitlines(), 1):
        parts = line.split()
        try:
            values.append(float(parts[1]))
            steps.append(step_number(parts[2] if len(parts) > 2 else 0, f"{path}: line {number}"))
        except (IndexError, ValueError):
            raise DataError(f"{path}: line {number}: a time, a value and a step were expected") from None
    if text and not text.endswith("\n"):
        raise DataError(f"{path}: line {len(values)}: the file ends within the line")
    return Series(str(path.relative_to(root)), steps, values)
