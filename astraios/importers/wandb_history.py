"""Weights & Biases, exported history: CSV, JSON lines or Parquet of a run's rows, or the CSV of a chart.

A run's rows have `_step` with `_runtime` or `_timestamp` (`run.history()`, `run.scan_history()`); steps are those of
--map step=NAME, else of the Trainer's step metric where there is one, else W&B's own. A chart has a step and a column
"RUN - METRIC" for each run, with its __MIN and __MAX, which are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import from_config
from astraios.importers._curves import Series, fill
from astraios.importers._files import head
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.importers._table import Table, read_table
from astraios.records import TaskRow

_STEPS = ("train/global_step", "trainer/global_step", "global_step", "_step")
_BETWEEN = " - "


@dataclass(frozen=True)
class WandbHistory(Importer):
    """One exported file."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if path.is_dir() or not path.name.endswith((".csv", ".jsonl", ".ndjson", ".parquet")):
            return False
        start = head(path, 1 << 16)
        if path.suffix == ".parquet":
            return _parquet_names(path)
        line = start.split(b"\n", 1)[0]
        rows = b"_step" in line and (b"_runtime" in line or b"_timestamp" in line)
        return rows or (path.suffix == ".csv" and _BETWEEN.encode() in line and b"__MIN" in line)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        table = read_table(path)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        runs = _history(table, wanted, skipped) if "_step" in table.frame.columns else _chart(table, wanted)
        for label, identity, series in runs:
            run = Found(label=label, identity=identity, facts=from_config({}), settings={"export": path.name})
            tasks |= fill(run, series, wanted, skipped)
            found.append(run)
        return imported("wandb", found, wanted, skipped, tasks)


wandb_history = WandbHistory(name="wandb-history", title="Weights & Biases, exported history", maps=True)

_Run = tuple[str, list[Any], list[Series]]


def _parquet_names(path: Path) -> bool:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(path).names
    except (pa.ArrowException, OSError):
        return False
    return "_step" in names and ("_runtime" in names or "_timestamp" in names)


def _steps(table: Table, name: str) -> list[int | None]:
    """Steps by row; null where a row was logged without."""
    return [
        None if value is None else step_number(value, table.place(row))
        for row, value in enumerate(table.numbers(name).fill_nan(None))
    ]


def _series(table: Table, name: str, metric: str, steps: list[int | None], skipped: Skipped | None = None) -> Series:
    """The values of a column that were logged: an empty cell is none, NaN is one."""
    kept, values, lost = [], [], 0
    for step, value in zip(steps, table.numbers(name), strict=True):
        if value is None:
            continue
        if step is None:
            lost += 1
            continue
        kept.append(step)
        values.append(value)
    if lost and skipped is not None:
        skipped.add(f"metric {metric}", f"{lost:,} values logged without a step")
    return Series(metric, kept, values)


def _history(table: Table, wanted: Wanted, skipped: Skipped) -> Iterator[_Run]:
    names = list(table.frame.columns)
    over = wanted.columns.get("step") or next(name for name in _STEPS if name in names)
    if over not in names:
        raise UsageError(f"--map step={over}: {table.path} has no column {over!r}; it has: {', '.join(names)}")
    if table.frame.is_empty():
        raise DataError(f"{table.path}: line 2: a history without a row")
    steps = _steps(table, over)
    metrics = [name for name in names if not name.startswith("_") and name != over and _numeric(table, name)]
    first = {name: str(table.frame[name][0]) for name in ("_step", "_timestamp", "_runtime", *metrics) if name in names}
    yield (
        table.path.name.partition(".")[0],
        ["history", first],
        [_series(table, name, name, steps, skipped) for name in metrics],
    )


def _numeric(table: Table, name: str) -> bool:
    try:
        table.numbers(name)
    except DataError:
        return False
    return True


def _chart(table: Table, wanted: Wanted) -> Iterator[_Run]:
    names = list(table.frame.columns)
    over = wanted.columns.get("step", names[0])
    if over not in names:
        raise UsageError(f"--map step={over}: {table.path} has no column {over!r}; it has: {', '.join(names)}")
    steps = _steps(table, over)
    by_run: dict[str, list[Series]] = {}
    for name in names:
        run, between, metric = name.rpartition(_BETWEEN)
        if between and not metric.endswith(("__MIN", "__MAX", "_step")):
            by_run.setdefault(run, []).append(_series(table, name, metric, steps))
    if not by_run:
        raise DataError(f"{table.path}: line 1: no column named RUN - METRIC")
    yield from ((run, ["chart", run, [one.name for one in series]], series) for run, series in by_run.items())
