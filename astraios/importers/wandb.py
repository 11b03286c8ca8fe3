"""Weights & Biases: run directories (offline or synced), read from their .wandb files without the wandb package.

The file is a LevelDB log of protocol buffers (wandb/proto/wandb_internal.proto): a header of 7 bytes, then records. A
metric counts over the step metric that the run defined for it (`define_metric`), else over W&B's own step.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import head, read_bytes
from astraios.importers._models import from_config
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.importers._wire import fields, leveldb_records, signed
from astraios.records import TaskRow

_HEADER = b":W&B"
_HISTORY, _CONFIG, _METRIC, _RUN, _EXIT = 2, 5, 12, 17, 18
"""Numbers of the fields of a Record that are read."""


@dataclass
class _Run:
    """What the records of one run say."""

    run_id: str = ""
    entity: str = ""
    project: str = ""
    name: str = ""
    host: str = ""
    tags: list[str] = field(default_factory=list)
    started: float | None = None
    exit_code: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    """Names in the order of their definition: step_metric_index counts them from 1."""
    step_metrics: dict[str, str] = field(default_factory=dict)
    globs: dict[str, str] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


@dataclass(frozen=True)
class Wandb(Importer):
    """A .wandb file, a run directory, or a folder of run directories."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_files(path)) if path.is_dir() else head(path, 4) == _HEADER

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        runs: dict[tuple[str, str, str], _Run] = {}
        for file in _files(path) if path.is_dir() else [path]:
            run = _read(file)
            key = (run.entity, run.project, run.run_id)
            runs[key] = _joined(runs[key], run) if key in runs else run
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for run in runs.values():
            one = _found(run, wanted)
            tasks |= fill(one, _series(run, wanted, skipped), wanted, skipped)
            if one.losses is not None and not len(one.losses) and not one.scores:
                skipped.add(f"run {one.label}", "it logged no loss and no score")
                continue
            found.append(one)
        return imported(self.name, found, wanted, skipped, tasks)


wandb = Wandb(name="wandb", title="Weights & Biases run", maps=True)


def _files(folder: Path) -> list[Path]:
    patterns = ("*.wandb", "*run-*/*.wandb", "wandb/*run-*/*.wandb")
    found = {path.resolve(): path for pattern in patterns for path in sorted(folder.glob(pattern), reverse=True)}
    return sorted(found.values())


def _read(path: Path) -> _Run:
    data, run = read_bytes(path), _Run()
    if data[:4] != _HEADER or len(data) < 7:
        raise DataError(f"{path}: byte 0: not a .wandb file")
    for offset, record in leveldb_records(path, data, 7):
        try:
            for number, content in fields(record):
                if isinstance(content, bytes):
                    _take(run, number, content)
        except (ValueError, struct.error) as error:
            raise DataError(f"{path}: byte {offset}: a record that can't be read ({error})") from None
    if not run.run_id:
        raise DataError(f"{path}: byte {len(data)}: the file ends before it says which run it is")
    return run


def _take(run: _Run, number: int, content: bytes) -> None:
    if number == _HISTORY:
        _take_history(run, content)
    elif number == _CONFIG:
        _take_config(run, content)
    elif number == _METRIC:
        _take_metric(run, content)
    elif number == _RUN:
        _take_run(run, content)
    elif number == _EXIT:
        run.exit_code = next((value for name, value in fields(content) if name == 1 and isinstance(value, int)), 0)


def _take_run(run: _Run, content: bytes) -> None:
    texts = {1: "run_id", 2: "entity", 3: "project", 8: "name", 13: "host"}
    for number, value in fields(content):
        if not isinstance(value, bytes):
            continue
        if number in texts:
            setattr(run, texts[number], value.decode())
        elif number == 4:
            _take_config(run, value)
        elif number == 10:
            run.tags.append(value.decode())
        elif number == 17:
            time = {name: part for name, part in fields(value) if isinstance(part, int)}
            run.started = time.get(1, 0) + time.get(2, 0) / 1e9


def _take_config(run: _Run, content: bytes) -> None:
    for number, item in fields(content):
        if not isinstance(item, bytes) or number not in (1, 2):
            continue
        names, value = _item(item)
        place = run.config
        for name in names[:-1]:
            inner = place.setdefault(name, {})
            place = inner if isinstance(inner, dict) else {}
        if number == 1:
            place[names[-1]] = value
        else:
            place.pop(names[-1], None)
    run.config.pop("_wandb", None)


def _take_metric(run: _Run, content: bytes) -> None:
    facts = dict(fields(content))
    name, glob, step, index = (facts.get(number) for number in (1, 2, 4, 5))
    if isinstance(name, bytes):
        run.metrics.append(name.decode())
    over = step.decode() if isinstance(step, bytes) else None
    if over is None and isinstance(index, int) and 0 < index <= len(run.metrics):
        over = run.metrics[index - 1]
    if over is not None and isinstance(name, bytes):
        run.step_metrics[name.decode()] = over
    elif over is not None and isinstance(glob, bytes):
        run.globs[glob.decode()] = over


def _take_history(run: _Run, content: bytes) -> None:
    row: dict[str, Any] = {}
    step = len(run.history)
    for number, item in fields(content):
        if not isinstance(item, bytes):
            continue
        if number == 1:
            names, value = _item(item)
            row[".".join(names)] = value
        elif number == 2:
            step = next((signed(value) for name, value in fields(item) if name == 1 and isinstance(value, int)), 0)
    run.history.append((int(row.get("_step", step)), row))


def _item(content: bytes) -> tuple[list[str], Any]:
    """Name (in parts) and value of an item of the configuration or the history."""
    names: list[str] = []
    value: Any = None
    for number, part in fields(content):
        if number in (1, 2) and isinstance(part, bytes):
            names.append(part.decode())
        elif number in (8, 16) and isinstance(part, bytes):
            value = json.loads(part)
        elif number == 6 and isinstance(part, bytes):
            value = struct.unpack("<d", part)[0]
        elif number == 7 and isinstance(part, bytes):
            value = part.decode()
        elif number == 4:
            value = bool(part)
        elif number == 5 and isinstance(part, int):
            value = part >> 1 ^ -(part & 1)
    if not names:
        raise ValueError("an item without a name")
    return names, value


def _joined(first: _Run, second: _Run) -> _Run:
    """A run that was resumed into another file: the history goes on, the newer settings count."""
    if (second.started or 0) < (first.started or 0):
        first, second = second, first
    second.config = {**first.config, **second.config}
    second.step_metrics = {**first.step_metrics, **second.step_metrics}
    second.globs = {**first.globs, **second.globs}
    second.history = first.history + second.history
    second.started = first.started
    return second


def _series(run: _Run, wanted: Wanted, skipped: Skipped) -> Iterator[Series]:
    """The numbers of the history, each over its step metric."""
    chosen = wanted.columns.get("step")
    steps: dict[str, list[int]] = {}
    values: dict[str, list[float | None]] = {}
    lost: dict[tuple[str, str], int] = {}
    for own, row in run.history:
        for name, value in row.items():
            number = _number(value)
            if name.startswith("_") or number is None:
                continue
            over = chosen or _step_metric(run, name)
            step = own if over in (None, name) else row.get(over)
            if step is None:
                lost[name, str(over)] = lost.get((name, str(over)), 0) + 1
                continue
            steps.setdefault(name, []).append(step_number(step, f"run {run.name or run.run_id}, {over or '_step'}"))
            values.setdefault(name, []).append(number)
    for (name, over), count in lost.items():
        skipped.add(
            f"run {run.name or run.run_id}, {name}", f"{count:,} values logged without their step metric {over}"
        )
    over_all = {*run.step_metrics.values(), *run.globs.values(), chosen}
    yield from (Series(name, steps[name], values[name]) for name in steps if name not in over_all)


def _step_metric(run: _Run, name: str) -> str | None:
    if name in run.step_metrics:
        return run.step_metrics[name]
    if name in run.metrics:
        return None
    return next((over for glob, over in run.globs.items() if fnmatchcase(name, glob)), None)


def _number(value: Any) -> float | None:
    if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
        return float(value)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _found(run: _Run, wanted: Wanted) -> Found:
    facts = from_config(mapped_config(_flat(run.config), wanted))
    started = None
    if run.started:
        started = datetime.fromtimestamp(run.started, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        facts["created_at"] = started
    return Found(
        label=run.name or run.run_id,
        identity=[run.entity, run.project, run.run_id],
        facts=facts,
        settings={
            "run": run.run_id, "project": run.project, "host": run.host, "tags": run.tags,
            "exit_code": run.exit_code, "config": run.config,
        },
        attempt={"started_at": started},
    )  # fmt: skip


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names too, the outer ones first."""
    found = {f"{prefix}{name}": value for name, value in config.items()}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found = {**_flat(value, f"{prefix}{name}."), **found}
    return found
