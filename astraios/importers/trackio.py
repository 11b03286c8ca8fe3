"""Trackio, TRL's default tracker: its sqlite files, one a project; read directly, no trackio needed.

A row of metrics counts over the step of the Trainer that it holds (`train/global_step`), or over --map step=NAME, else
over Trackio's own step, which counts rows.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import config_facts
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import walk
from astraios.importers._runs import Found, Skipped, imported
from astraios.importers._sqlite import is_sqlite, opened, tables
from astraios.records import TaskRow

_TABLES = ("metrics", "configs")
_STEPS = ("train/global_step", "global_step")
_OWN = ("timestamp", "step")


@dataclass
class _Run:
    """One run of a project."""

    key: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    started: str | None = None
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Trackio(Importer):
    """A project's file, or a folder of them."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_projects(path)) if path.is_dir() else _is_project(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for project in _projects(path) if path.is_dir() else [path]:
            with skipped.item(project), opened(project, _TABLES, "Trackio's") as connection:
                for run in _runs(connection, project, skipped):
                    with skipped.item(f"run {run.name}"):
                        one = _found(run, project, wanted)
                        tasks |= fill(one, _series(run, wanted), wanted, skipped)
                        if one.losses is not None and not len(one.losses) and not one.scores:
                            skipped.add(f"run {run.name}", "it logged no loss and no score")
                            continue
                        found.append(one)
        return imported(self.name, found, wanted, skipped, tasks)


trackio = Trackio(name="trackio", title="Trackio project", priority=1, maps=True)


def _projects(folder: Path) -> list[Path]:
    return [path for path in walk(folder, "*.db") if _is_project(path)]


def _is_project(path: Path) -> bool:
    if path.suffix != ".db" or not is_sqlite(path):
        return False
    there = tables(path)
    return set(_TABLES) <= there and "experiments" not in there


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"pragma table_info({table})")]


def _runs(connection: sqlite3.Connection, path: Path, skipped: Skipped) -> Iterator[_Run]:
    key = "run_id" if "run_id" in _columns(connection, "metrics") else "run_name"
    runs: dict[str, _Run] = {}
    for one, name, step, text, time in connection.execute(
        f"select {key}, run_name, step, metrics, timestamp from metrics order by id"
    ):
        run = runs.setdefault(one, _Run(str(one), str(name), started=time))
        run.rows.append((step, _object(text, f"{path}: metrics of run {name}")))
    for one, text in connection.execute(f"select {key}, config from configs"):
        if one in runs:
            runs[one].config = _object(text, f"{path}: config of run {runs[one].name}")
        else:
            skipped.add(f"run {one}", "it logged nothing")
    yield from runs.values()


def _object(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error})") from None
    return content if isinstance(content, dict) else {}


def _series(run: _Run, wanted: Wanted) -> list[Series]:
    series: dict[str, tuple[list[Any], list[float | None]]] = {}
    chosen = wanted.columns.get("step")
    for own, row in run.rows:
        over = next((row[name] for name in (chosen, *_STEPS) if name in row), own)
        for name, value in row.items():
            if name in _OWN or name in (*_STEPS, chosen):
                continue
            number = _number(value)
            if number is not None:
                steps, values = series.setdefault(name, ([], []))
                steps.append(over)
                values.append(number)
    return [Series(name, steps, values) for name, (steps, values) in series.items()]


def _number(value: Any) -> float | None:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _found(run: _Run, project: Path, wanted: Wanted) -> Found:
    config = {name: value for name, value in run.config.items() if not name.startswith("_") or name == "_name_or_path"}
    told = config_facts(mapped_config(config, wanted), project)
    started = _utc(run.started)
    if started:
        told.facts["created_at"] = started
    return Found(
        label=run.name,
        identity=[project.stem, run.key],
        facts=told.facts,
        settings={"project": project.stem, "run": run.key, "config": config, **told.settings},
        attempt={"started_at": started},
        source=told.source,
        place=f"{project}/{run.key}",
        ids={"trackio": {"run": run.key, "project": project.stem}},
        named=True,
    )


def _utc(text: str | None) -> str | None:
    try:
        time = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return (time.astimezone(UTC) if time.tzinfo else time).replace(tzinfo=None).isoformat(timespec="milliseconds")
