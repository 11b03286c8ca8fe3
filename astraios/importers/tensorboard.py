"""TensorBoard: event files, or a folder of them; a run is the folder of its files, as in TensorBoard itself.

Read without tensorboard: TFRecords of protocol buffers (tensorflow/core/util/event.proto, framework/summary.proto), so
that a damaged file is refused where TensorBoard would quietly stop reading it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill
from astraios.importers._files import read_bytes
from astraios.importers._runs import Found, Skipped, imported, step_number
from astraios.importers._wire import fields, signed, tf_records
from astraios.records import TaskRow

_NAME = "*tfevents*"
_HOST = re.compile(r"\b([A-Z][a-z]{2}\d{2}_\d{2}-\d{2}-\d{2})_[^/]+")
"""What SummaryWriter calls a folder that nobody named: the time and the host."""
_FLOAT, _DOUBLE = 1, 2
"""Types of a tensor (tensorflow/core/framework/types.proto)."""


@dataclass
class _Log:
    """What the event files of one run hold."""

    started: float | None = None
    scalars: dict[str, tuple[list[int], list[float | None]]] = field(default_factory=dict)
    others: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class TensorBoard(Importer):
    """A log directory, or one event file."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return any(True for _ in path.rglob(_NAME)) if path.is_dir() else "tfevents" in path.name and path.is_file()

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped()
        by_run: dict[Path, list[Path]] = {}
        for file in sorted(path.rglob(_NAME)) if path.is_dir() else [path]:
            by_run.setdefault(file.parent, []).append(file)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        for folder, files in by_run.items():
            log = _Log()
            for file in sorted(files, key=_written):
                _read(file, log)
            one = _found(folder, path, log, wanted.private)
            for name in sorted(log.others):
                skipped.add(f"{one.label}, {name}", "no scalar")
            series = [Series(name, steps, values) for name, (steps, values) in log.scalars.items()]
            tasks |= fill(one, series, wanted, skipped)
            if one.losses is not None and not len(one.losses) and not one.scores:
                skipped.add(f"run {one.label}", "it logged no loss and no score")
                continue
            found.append(one)
        return imported(self.name, found, wanted, skipped, tasks)


tensorboard = TensorBoard(name="tensorboard", title="TensorBoard event files", priority=-1, maps=True)


def _written(path: Path) -> tuple[int, str]:
    time = re.search(r"tfevents\.(\d+)", path.name)
    return int(time[1]) if time else 0, path.name


def _found(folder: Path, source: Path, log: _Log, private: bool) -> Found:
    root = source if source.is_dir() else source.parent
    name = folder.name if folder == root else str(folder.relative_to(root))
    if not private:
        name = _HOST.sub(r"\1", name)
    facts = {}
    if log.started:
        facts["created_at"] = (
            datetime.fromtimestamp(log.started, UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")
        )
    first = {tag: [steps[0], values[0]] for tag, (steps, values) in sorted(log.scalars.items())}
    return Found(
        label=name,
        identity=[folder.name, log.started, first],
        facts=facts,
        attempt={"started_at": facts.get("created_at")},
    )


def _read(path: Path, log: _Log) -> None:
    """Adds the scalars of one event file.

    Raises:
        DataError: it is damaged, or empty.
    """
    data = read_bytes(path)
    if not data:
        raise DataError(f"{path}: byte 0: an empty file")
    for offset, record in tf_records(path, data):
        try:
            _event(record, log, f"{path}: byte {offset}")
        except (ValueError, struct.error) as error:
            raise DataError(f"{path}: byte {offset}: an event that can't be read ({error})") from None


def _event(record: bytes, log: _Log, where: str) -> None:
    time, step, summary = 0.0, 0, b""
    for number, value in fields(record):
        if number == 1 and isinstance(value, bytes):
            time = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = signed(value)
        elif number == 5 and isinstance(value, bytes):
            summary = value
    if log.started is None or 0 < time < log.started:
        log.started = time
    for number, value in fields(summary):
        if number == 1 and isinstance(value, bytes):
            _value(value, step, log, where)


def _value(content: bytes, step: int, log: _Log, where: str) -> None:
    tag, scalar = "", None
    for number, part in fields(content):
        if number == 1 and isinstance(part, bytes):
            tag = part.decode()
        elif number == 2 and isinstance(part, bytes):
            scalar = struct.unpack("<f", part)[0]
        elif number == 8 and isinstance(part, bytes):
            scalar = _tensor(part)
    if scalar is None:
        log.others.add(tag)
        return
    steps, values = log.scalars.setdefault(tag, ([], []))
    steps.append(step_number(step, where))
    values.append(scalar)


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
