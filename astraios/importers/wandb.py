"""Weights & Biases: run directories (offline or synced), read from their .wandb files without the wandb package.

The file is a LevelDB log of protocol buffers (wandb/proto/wandb_internal.proto): a header of 7 bytes, then records. A
metric counts over the step metric that the run defined for it (`define_metric`), else over W&B's own step. A run that
was resumed into other files goes on; where it was rewound, what came after the branch point is dropped, and a fork
begins with what its parent had up to there.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import config_facts
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import head, read_bytes, walk
from astraios.importers._runs import Found, Skipped, imported
from astraios.importers._wire import CutError, fields, leveldb_records, signed
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
    branch: tuple[str, float, str] | None = None
    """Run, value and metric of the point that this part goes on from, where it was rewound or forked."""
    path: Path = Path()
    config: dict[str, Any] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    """Names in the order of their definition: step_metric_index counts them from 1."""
    step_metrics: dict[str, str] = field(default_factory=dict)
    globs: dict[str, str] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    dropped: int = 0
    """Rows of what a restart abandoned."""


@dataclass(frozen=True)
class Wandb(Importer):
    """A .wandb file, a run directory, or a folder of run directories, nested too."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_files(path)) if path.is_dir() else head(path, 4) == _HEADER

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        parts: dict[tuple[str, str, str], list[_Run]] = {}
        for file in _files(path) if path.is_dir() else [path]:
            with skipped.item(file):
                run = _read(file, skipped)
                parts.setdefault((run.entity, run.project, run.run_id), []).append(run)
        runs = {key: _joined(some) for key, some in parts.items()}
        kept: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        forks = any(run.branch is not None and run.branch[0] != run.run_id for run in runs.values())
        for run in runs.values():
            label = run.name or run.run_id
            with skipped.item(f"run {label}"):
                run.history = _inherited(run, runs) + run.history
                if run.dropped:
                    skipped.add(f"{label}, before a restart", f"{run.dropped:,} rows of the abandoned branch")
                one = found(run, wanted)
                tasks |= fill(one, series(run, wanted, skipped), wanted, skipped)
                run.history = run.history if forks else []  # a fork begins with its parent's
                if one.losses is not None and not len(one.losses) and not one.scores:
                    skipped.add(f"run {label}", "it logged no loss and no score")
                    continue
                kept.append(one)
        return imported(self.name, kept, wanted, skipped, tasks)


wandb = Wandb(name="wandb", title="Weights & Biases run", priority=1, maps=True)


def _files(folder: Path) -> list[Path]:
    return walk(folder, "*.wandb")


def remote_run(remote: Any) -> _Run:
    """A run as W&B's own client gives it (wandb.Api)."""
    try:
        started = datetime.fromisoformat(str(remote.created_at)).replace(tzinfo=UTC).timestamp()
    except ValueError:
        started = None
    run = _Run(remote.id, remote.entity, remote.project, remote.name, tags=list(remote.tags or ()), started=started)
    run.config = {name: value for name, value in dict(remote.config).items() if not name.startswith("_wandb")}
    run.history = [(int(row.get("_step", place)), dict(row)) for place, row in enumerate(remote.scan_history())]
    return run


def _read(path: Path, skipped: Skipped) -> _Run:
    data, run, cut = read_bytes(path), _Run(path=path), None
    if data[:4] != _HEADER or len(data) < 7:
        raise DataError(f"{path}: byte 0: not a .wandb file")
    try:
        for offset, record in leveldb_records(path, data, 7):
            _take_record(run, record, f"{path}: byte {offset}")
    except CutError as error:
        cut = error
    if not run.run_id:
        raise cut or DataError(f"{path}: byte {len(data)}: the file ends before it says which run it is")
    if cut is not None:
        skipped.cut(path, cut)
    return run


def _take_record(run: _Run, record: bytes, where: str) -> None:
    try:
        for number, content in fields(record):
            if isinstance(content, bytes):
                _take(run, number, content)
    except (ValueError, struct.error) as error:
        raise DataError(f"{where}: a record that can't be read ({error})") from None


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
        elif number == 23:
            run.branch = _branch(value)
        elif number == 17:
            time = {name: part for name, part in fields(value) if isinstance(part, int)}
            run.started = time.get(1, 0) + time.get(2, 0) / 1e9


def _branch(content: bytes) -> tuple[str, float, str]:
    run, value, metric = "", 0.0, "_step"
    for number, part in fields(content):
        if number == 1 and isinstance(part, bytes):
            run = part.decode()
        elif number == 2 and isinstance(part, bytes):
            value = struct.unpack("<d", part)[0]
        elif number == 3 and isinstance(part, bytes):
            metric = part.decode() or metric
    return run, value, metric


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
            row[sys.intern(".".join(names))] = value  # the same few names in every row
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


def _joined(parts: list[_Run]) -> _Run:
    """A run that went on in other files: the history goes on, or back to where it was rewound; newer settings count."""
    parts = sorted(parts, key=lambda part: (part.started or 0, str(part.path)))
    whole = parts[0]
    for part in parts[1:]:
        kept = whole.history
        part.dropped = whole.dropped
        if part.branch is not None and part.branch[0] == part.run_id:
            kept = _up_to(kept, part.branch)
        else:
            kept = _before_restart(kept, part)
            part.dropped += len(whole.history) - len(kept)
        history = kept + _shifted(part.history, kept)
        part.config = {**whole.config, **part.config}
        part.step_metrics = {**whole.step_metrics, **part.step_metrics}
        part.globs = {**whole.globs, **part.globs}
        part.metrics = part.metrics or whole.metrics
        part.history, part.started, part.branch = history, whole.started, whole.branch
        whole = part
    return whole


def _before_restart(history: list[tuple[int, dict[str, Any]]], part: _Run) -> list[tuple[int, dict[str, Any]]]:
    """What came before a part that went back to an earlier step (of a checkpoint): the rest was abandoned.

    Where W&B's own steps begin anew, the metric that the run counts steps by tells; an epoch is too coarse for it.
    """
    if not history or not part.history or _at(part.history[0], "_timestamp") < _at(history[-1], "_timestamp"):
        return history
    counted = {name for name in (*part.step_metrics.values(), *part.globs.values()) if "epoch" not in name.lower()}
    for metric in ["_step"] if part.history[0][0] > 0 else sorted(counted):
        first = min((step for row in part.history if (step := _at(row, metric)) >= 0), default=0.0)
        history = [row for row in history if _at(row, metric) < first] if first > 0 else history
    return history


def _at(row: tuple[int, dict[str, Any]], metric: str) -> float:
    """Where a row stands by its own step or by a metric; before all others where it does not say."""
    value = row[0] if metric == "_step" else _number(row[1].get(metric))
    return -1.0 if value is None else value


def _up_to(history: list[tuple[int, dict[str, Any]]], branch: tuple[str, float, str]) -> list[Any]:
    _, value, metric = branch
    return [(own, row) for own, row in history if (own if metric == "_step" else row.get(metric, own)) <= value]


def _shifted(history: list[tuple[int, dict[str, Any]]], before: list[tuple[int, dict[str, Any]]]) -> list[Any]:
    """Rows of a part whose own steps count from 0 again, after those that came before it.

    W&B counts its steps on where a run is resumed online; offline it does not know how far the run had come.
    """
    last = max((own for own, _ in before), default=-1)
    if not history or history[0][0] > 0 or last < 0 or _same_rows(history, before):
        return history
    return [(own + last + 1, row) for own, row in history]


def _same_rows(history: list[tuple[int, dict[str, Any]]], before: list[tuple[int, dict[str, Any]]]) -> bool:
    """Whether a part is a copy: its first row was logged at the same time as one before."""
    first = history[0][1].get("_timestamp")
    return any(row.get("_timestamp") == first for _, row in before)


def _inherited(run: _Run, runs: Mapping[tuple[str, str, str], _Run]) -> list[tuple[int, dict[str, Any]]]:
    """What a fork has of its parent, where the parent is in the source too."""
    if run.branch is None or run.branch[0] == run.run_id:
        return []
    parent = runs.get((run.entity, run.project, run.branch[0]))
    return _up_to(parent.history, run.branch) if parent is not None else []


def series(run: _Run, wanted: Wanted, skipped: Skipped) -> Iterator[Series]:
    """The numbers of the history, each over its step metric."""
    chosen = wanted.columns.get("step")
    steps: dict[str, list[Any]] = {}
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
            steps.setdefault(name, []).append(step)
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


def found(run: _Run, wanted: Wanted) -> Found:
    """A run with its facts and settings, without its losses."""
    told = config_facts(mapped_config(_flat(run.config), wanted), run.path)
    started = None
    if run.started:
        started = datetime.fromtimestamp(run.started, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        told.facts["created_at"] = started
    return Found(
        label=run.name or run.run_id,
        identity=[run.entity, run.project, run.run_id],
        facts=told.facts,
        settings={
            "run": run.run_id, "project": run.project, "host": run.host, "tags": run.tags,
            "exit_code": run.exit_code, "config": run.config, **told.settings,
        },
        attempt={"started_at": started},
        source=told.source,
        place=str(run.path.parent),
        ids={"wandb": {"run": run.run_id, "project": run.project}},
        named=True,
        unfinished=_unfinished(run),
    )  # fmt: skip


def _unfinished(run: _Run) -> str:
    if run.path == Path():  # a server's run, whose end is not asked for
        return ""
    return "killed or running" if run.exit_code is None else f"exit code {run.exit_code}" if run.exit_code else ""


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names too, the outer ones first."""
    found = {f"{prefix}{name}": value for name, value in config.items()}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found = {**_flat(value, f"{prefix}{name}."), **found}
    return found
