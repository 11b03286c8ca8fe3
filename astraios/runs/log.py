"""A log of lines that outlasts the process that writes it: each write appends whole lines, at the end of the file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import orjson

_STRIDE = 1 << 16


class Log:
    """A file of lines, kept open by its one writer.

    Args:
        path: the file; made with the first line.
        pause: seconds between two writes. Lines in between go out with the next one, or with `flush`. At 0 a line is
            in the file, where a kill of this process can't reach it, when `add` returns.
    """

    def __init__(self, path: Path | str, pause: float = 0.0) -> None:
        self._name, self.pause = path, pause
        self._file: int | None = None
        self._waiting = bytearray()
        self._due = 0.0

    @property
    def path(self) -> Path:
        return Path(self._name)

    def add(self, line: bytes) -> None:
        """Appends a line, which ends in a newline.

        Raises:
            OSError: it can't be written now. The line is kept and goes out first with the next one.
        """
        self._waiting += line
        if self.pause:
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + self.pause
        self._write_waiting()

    def flush(self) -> None:
        """Writes the lines that are still to be written.

        Raises:
            OSError: as for `add`.
        """
        self._write_waiting()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        if self._file is None:
            self._file = _opened(self._name)
        self._write(self._file, bytes(self._waiting))
        self._waiting.clear()

    def _write(self, file: int, content: bytes) -> None:
        written = os.write(file, content)
        while written < len(content):  # A full disk takes a part, and says so the next time.
            content = content[written:]
            del self._waiting[:written]
            written = os.write(file, content)

    def close(self) -> None:
        """Writes what is left and lets go of the file; the next line opens it again."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def line_of(entry: Any, n_none: int = 0) -> bytes:
    """JSON of an entry, and a newline. NaN, infinities and what else orjson has no word for are written as by `json`.

    Args:
        entry: plain values.
        n_none: how many None it holds: more nulls than these are numbers that orjson has no word for.
    """
    try:
        line = orjson.dumps(entry, None, orjson.OPT_APPEND_NEWLINE)
        if line.count(b"null") == n_none:
            return line
    except TypeError:
        pass
    return json.dumps(entry).encode() + b"\n"


def _opened(path: Path | str) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = os.fstat(file).st_size
    end = _end_of_lines(file, size)
    if end < size:
        os.ftruncate(file, end)
    if end and os.pread(file, 1, end - 1) != b"\n":
        os.write(file, b"\n")  # What an earlier writer left torn stays a line of its own.
    return file


def _end_of_lines(file: int, size: int) -> int:
    """Where the zero bytes begin that a mapped log ends in when its process was killed."""
    while size:
        begin = max(0, size - _STRIDE)
        written = os.pread(file, size - begin, begin).rstrip(b"\0")
        if written:
            return begin + len(written)
        size = begin
    return 0


def last_lines(path: Path, n_bytes: int) -> bytes:
    """Whole lines at the end of a log, at least one where it has any that is not longer.

    Args:
        path: the log.
        n_bytes: how much of it to read.

    Raises:
        OSError: it can't be read.
    """
    with open(path, "rb") as stream:
        end = _end_of_lines(stream.fileno(), os.fstat(stream.fileno()).st_size)
        tail = os.pread(stream.fileno(), min(n_bytes, end), max(0, end - n_bytes))
    return tail[: tail.rfind(b"\n") + 1]


def read_lines(content: bytes) -> list[dict[str, Any]]:
    """The objects of a log, whole lines only: a torn one is what an interruption leaves.

    Args:
        content: of the file, as it is at the moment.
    """
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    try:
        entries = orjson.loads(b"[" + b",".join(lines) + b"]")  # All at once takes a fraction of the time.
    except ValueError:
        entries = []
    if len(entries) != len(lines):
        entries = [entry for line in lines for entry in _parsed(line)]
    return [entry for entry in entries if isinstance(entry, dict)]


def _parsed(line: bytes) -> list[Any]:
    """What a line says; nothing where it was torn and then appended to: that is said again after the resume."""
    try:
        return [json.loads(line)]
    except ValueError:
        return []
