"""TensorBoard: event files, or a folder of them; a run is the folder of its files, as in TensorBoard itself.

Read without tensorboard: TFRecords of protocol buffers (tensorflow/core/util/event.proto, framework/summary.proto), so
that a damaged file is refused where TensorBoard would quietly stop reading it. A restart drops what it goes on before:
by its purge step, else where a later file begins. The folders that `add_scalars` and Keras make for the lines of one
chart are one run.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import config_facts, plain_values
from astraios.importers._curves import Series, fill, mapped_config
from astraios.importers._files import flat_yaml, plain_file, read_bytes, walk
from astraios.importers._runs import Found, Skipped, imported
from astraios.importers._wire import CutError, fields, signed, tf_records
from astraios.records import TaskRow

_NAME = "*tfevents*"
HPARAMS = "hparams.yaml"
_HOST = re.compile(r"\b([A-Z][a-z]{2}\d{2}_\d{2}-\d{2}-\d{2})_[^/]+")
"""What SummaryWriter calls a folder that nobody named: the time and the host."""
_START = 1
"""Status of a session log that says that writing begins here."""
_FLOAT, _DOUBLE = 1, 2
"""Types of a tensor (tensorflow/core/framework/types.proto)."""


@dataclass
class _Log:
    """What the event files of one run hold."""

    started: float | None = None
    last: float = 0.0
    """Time of the last event read."""
    scalars: dict[str, tuple[list[int], list[float | None]]] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    """Hyperparameters that were logged as such."""
    dropped: int = 0
    """Values of what a restart abandoned."""
    others: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class TensorBoard(Importer):
    """A log directory, or one event file."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(walk(path, _NAME)) if path.is_dir() else "tfevents" in path.name and plain_file(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        by_run: dict[Path, list[Path]] = {}
        for file in walk(path, _NAME) if path.is_dir() else [path]:
            by_run.setdefault(file.parent, []).append(file)
        logs: dict[Path, _Log] = {}
        for folder, files in by_run.items():
            with skipped.item(files[0] if len(files) == 1 else folder.name):
                logs[folder] = _log(files, skipped)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for folder, log in _joined(logs).items():
            with skipped.item(folder.name):
                one = _found(folder, path, log, wanted)
                for name in sorted(log.others):
                    skipped.add(f"{one.label}, {name}", "no scalar")
                if log.dropped:
                    skipped.add(f"{one.label}, before a restart", f"{log.dropped:,} values of the abandoned branch")
                series = [Series(name, steps, values) for name, (steps, values) in log.scalars.items()]
                tasks |= fill(one, series, wanted, skipped)
                if one.losses is not None and not len(one.losses) and not one.scores:
                    skipped.add(f"run {one.label}", "it logged no loss and no score")
                    continue
                found.append(one)
        return imported(self.name, found, wanted, skipped, tasks)


tensorboard = TensorBoard(name="tensorboard", title="TensorBoard event files", priority=-1, maps=True)


def _log(files: list[Path], skipped: Skipped) -> _Log:
    """What the files of one folder hold, in the order in which they were begun."""
    log = _Log()
    for file in sorted(files, key=_written):
        part = _Log(last=log.last)
        try:
            _read(file, part, log)
        except CutError as error:
            skipped.cut(file, error)
        log = _after(log, part)
    return log


def _after(log: _Log, part: _Log) -> _Log:
    """A log with what a later file has; where that begins again before the end, it goes on from there."""
    restarted = part.started is not None and log.last and part.started >= log.last
    for tag, (steps, values) in part.scalars.items():
        before = log.scalars.setdefault(tag, ([], []))
        if restarted and steps:
            log.dropped += _purge(before, min(steps))
        before[0].extend(steps)
        before[1].extend(values)
    log.started = min(time for time in (log.started, part.started) if time is not None) if part.started else log.started
    log.last, log.dropped = max(log.last, part.last), log.dropped + part.dropped
    log.texts |= part.texts
    log.settings |= part.settings
    log.others |= part.others
    return log


def _purge(series: tuple[list[int], list[float | None]], step: int) -> int:
    """Drops what was logged from a step on; how many values that were."""
    steps, values = series
    kept = [place for place, one in enumerate(steps) if one < step]
    count = len(steps) - len(kept)
    steps[:], values[:] = [steps[place] for place in kept], [values[place] for place in kept]
    return count


_PARTS = {"train": "train", "training": "train", "validation": "val", "val": "val", "valid": "val", "eval": "eval",
          "test": "test", "dev": "dev"}  # fmt: skip


def _joined(logs: Mapping[Path, _Log]) -> dict[Path, _Log]:
    """Logs by run: a folder of `add_scalars` (TAG_NAME, with the tag TAG) or of Keras (train, validation) is a part."""
    runs: dict[Path, _Log] = {}
    for folder, log in logs.items():
        home, names = folder, {tag: tag for tag in log.scalars}
        tag = next(iter(log.scalars), "") if len(log.scalars) == 1 else ""
        stem = tag.replace("/", "_") + "_"
        if tag and folder.name.startswith(stem):
            home, names = (
                folder.parent,
                {tag: f"{_PARTS.get(folder.name[len(stem) :], folder.name[len(stem) :])}/{tag}"},
            )
        elif folder.name in _PARTS and folder.parent.name and _is_part(folder, logs):
            home = folder.parent
            names = {tag: f"{_PARTS[folder.name]}/{tag.removeprefix('epoch_')}" for tag in log.scalars}
        renamed = replace(log, scalars={names[tag]: series for tag, series in log.scalars.items()})
        runs[home] = _after(replace(runs[home], last=0.0), renamed) if home in runs else renamed
    return _resumed(runs)


def _resumed(logs: dict[Path, _Log]) -> dict[Path, _Log]:
    """Logs by run, with those as one that the Trainer began anew for a run that it resumed: a folder for each start."""
    runs: dict[Path, _Log] = {}
    for folder, log in sorted(logs.items(), key=lambda one: one[1].started or 0.0):
        home = next((one for one in reversed(runs) if one.parent == folder.parent and _goes_on(runs[one], log)), folder)
        runs[home] = _after(runs[home], log) if home in runs else log
    return runs


_OF_A_START = ("logging_dir", "resume_from_checkpoint", "overwrite_output_dir", "run_name")
"""Arguments of the Trainer that differ between the starts of one run."""


def _goes_on(log: _Log, later: _Log) -> bool:
    """Whether a log is that of a run that was resumed: the same arguments, and it begins later in it."""
    arguments = [_object(_summary(one, "args")) for one in (log, later)]
    one, other = ({name: value for name, value in told.items() if name not in _OF_A_START} for told in arguments)
    begun = [min((min(steps) for steps, _ in part.scalars.values() if steps), default=0) for part in (log, later)]
    return bool(one) and one == other and begun[1] > begun[0] and (later.started or 0.0) >= log.last


def _summary(log: _Log, tag: str) -> str:
    return log.texts.get(f"{tag}/text_summary", log.texts.get(tag, ""))


def _is_part(folder: Path, logs: Mapping[Path, _Log]) -> bool:
    """Whether the folders beside this are other parts, and all log the same tags."""
    beside = [log for other, log in logs.items() if other.parent == folder.parent and other.name in _PARTS]
    return len(beside) > 1 and len({frozenset(tag for tag in log.scalars if "loss" in tag) for log in beside}) == 1


def _written(path: Path) -> tuple[int, str]:
    time = re.search(r"tfevents\.(\d+)", path.name)
    return int(time[1]) if time else 0, path.name


def _found(folder: Path, source: Path, log: _Log, wanted: Wanted) -> Found:
    root = source if source.is_dir() else source.parent
    name = folder.name if folder == root else str(folder.relative_to(root))
    if not wanted.private:
        name = _HOST.sub(r"\1", name)
    config: dict[str, Any] = {**log.settings}
    for tag in ("model_config", "args"):
        config |= _object(_summary(log, tag))
    hparams = next((one for one in (folder, folder.parent) if plain_file(one / HPARAMS)), None)
    config |= plain_values(flat_yaml(hparams / HPARAMS)) if hparams else {}
    told = config_facts(mapped_config(config, wanted), folder)
    if log.started:
        told.facts["created_at"] = (
            datetime.fromtimestamp(log.started, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        )
    first = {tag: [steps[0], values[0]] for tag, (steps, values) in sorted(log.scalars.items()) if steps}
    return Found(
        label=name,
        identity=[folder.name, log.started, first],
        facts=told.facts,
        settings={**({"config": config} if config else {}), **told.settings},
        attempt={"started_at": told.facts.get("created_at")},
        source=told.source,
        place=str(folder),
    )


def _object(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _read(path: Path, log: _Log, before: _Log) -> None:
    """Adds the scalars of one event file.

    Args:
        path: the file.
        log: what this file holds is added to it.
        before: what the files before it held; a restart takes back from it.

    Raises:
        DataError: it is damaged, or empty.
        CutError: it ends within a record; what stands before it has been added.
    """
    data = read_bytes(path)
    if not data:
        raise DataError(f"{path}: byte 0: an empty file")
    for offset, record in tf_records(path, data):
        try:
            _event(record, log, before)
        except (ValueError, struct.error) as error:
            raise DataError(f"{path}: byte {offset}: an event that can't be read ({error})") from None


def _event(record: bytes, log: _Log, before: _Log) -> None:
    time, step, summary, session = 0.0, 0, b"", b""
    for number, value in fields(record):
        if number == 1 and isinstance(value, bytes):
            time = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = signed(value)
        elif number == 5 and isinstance(value, bytes):
            summary = value
        elif number == 7 and isinstance(value, bytes):
            session = value
    if log.started is None or 0 < time < log.started:
        log.started = time
    log.last = max(log.last, time)
    if session and (1, _START) in fields(session):
        log.dropped += sum(_purge(series, step) for one in (before, log) for series in one.scalars.values())
    for number, value in fields(summary):
        if number == 1 and isinstance(value, bytes):
            _value(value, step, log)


def _value(content: bytes, step: int, log: _Log) -> None:
    tag, scalar, tensor = "", None, b""
    for number, part in fields(content):
        if number == 1 and isinstance(part, bytes):
            tag = part.decode("utf-8", "replace")
        elif number == 2 and isinstance(part, bytes):
            scalar = struct.unpack("<f", part)[0]
        elif number == 8 and isinstance(part, bytes):
            scalar, tensor = _tensor(part), part
        elif number == 9 and isinstance(part, bytes):
            log.settings |= _hyperparameters(part)
    if scalar is None:
        text = _text(tensor)
        if text is not None:
            log.texts[tag] = text
        elif not tag.startswith("_hparams_/"):
            log.others.add(tag)
        return
    steps, values = log.scalars.setdefault(tag, ([], []))
    steps.append(step)
    values.append(scalar)


def _text(tensor: bytes) -> str | None:
    """The text of a tensor of one text."""
    texts = [part for number, part in fields(tensor) if number == 8 and isinstance(part, bytes)]
    return texts[0].decode("utf-8", "replace") if len(texts) == 1 else None


def _hyperparameters(metadata: bytes) -> dict[str, Any]:
    """What the plugin for hyperparameters keeps of a session's start (plugins/hparams/plugin_data.proto)."""
    found: dict[str, Any] = {}
    for entry in _inner(metadata, 1, 2, 3, 1):
        parts = dict(fields(entry))
        name, value = parts.get(1), parts.get(2)
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            continue
        for number, one in fields(value):
            if number == 2 and isinstance(one, bytes):
                found[name.decode("utf-8", "replace")] = struct.unpack("<d", one)[0]
            elif number == 3 and isinstance(one, bytes):
                found[name.decode("utf-8", "replace")] = one.decode("utf-8", "replace")
            elif number == 4:
                found[name.decode("utf-8", "replace")] = bool(one)
    return found


def _inner(message: bytes, *path: int) -> list[bytes]:
    """The messages at a path of field numbers."""
    found = [message]
    for number in path:
        found = [part for one in found for name, part in fields(one) if name == number and isinstance(part, bytes)]
    return found


def _tensor(content: bytes) -> float | None:
    """The number in a tensor of one number (as newer writers log scalars), or None for any other."""
    kind, numbers = 0, []
    for number, part in fields(content):
        if number == 1 and isinstance(part, int):
            kind = part
        elif number == 2 and isinstance(part, bytes) and any(name == 2 for name, _ in fields(part)):
            return None
        elif number == 4 and isinstance(part, bytes) and kind in (_FLOAT, _DOUBLE):
            numbers += list(_unpacked(part, kind))
        elif (number == 5 and kind == _FLOAT) or (number == 6 and kind == _DOUBLE):
            numbers += list(_unpacked(part, kind)) if isinstance(part, bytes) else []
    return numbers[0] if len(numbers) == 1 else None


def _unpacked(content: bytes, kind: int) -> Iterator[float]:
    yield from (one for (one,) in struct.iter_unpack("<f" if kind == _FLOAT else "<d", content))
