"""A log of lines that outlasts the process that writes it: each write appends whole lines, at the end of the file."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Log:
    """A file of lines, kept open by its one writer.

    Args:
        path: the file; made with the first line.
        pause: seconds between two writes. Lines in between go out with the next one, or with `flush`. At 0 a line is
            in the file, where a kill of this process can't reach it, when `add` returns.
    """

    def __init__(self, path: Path, pause: float = 0.0) -> None:
        self.path, self.pause = path, pause
        self._file: int | None = None
        self._waiting: list[bytes] = []
        self._due = 0.0

    def add(self, line: bytes) -> None:
        """Appends a line, which ends in a newline.

        Raises:
            OSError: it can't be written now. The line is kept and goes out first with the next one.
        """
        self._waiting.append(line)
        if self.pause:
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + self.pause
        self.flush()

    def flush(self) -> None:
        """Writes the lines that are still to be written.

        Raises:
            OSError: as for `add`.
        """
        if not self._waiting:
            return
        if self._file is None:
            self._file = _opened(self.path)
        content = self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting)
        self._waiting = [content]
        written = os.write(self._file, content)
        while written < len(content):  # A full disk takes a part, and says so the next time.
            content = content[written:]
            self._waiting = [content]
            written = os.write(self._file, content)
        self._waiting = []

    def close(self) -> None:
        """Writes what is left and lets go of the file; the next line opens it again."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _opened(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
    size = os.fstat(file).st_size
    if size and os.pread(file, 1, size - 1) != b"\n":
        os.write(file, b"\n")  # What an earlier writer left torn stays a line of its own.
    return file


def read_lines(content: bytes) -> list[dict[str, Any]]:
    """The objects of a log, whole lines only: a torn one is what an interruption leaves.

    Args:
        content: of the file, as it is at the moment.
    """
    lines = content[: content.rfind(b"\n") + 1].splitlines()
    try:
        entries = json.loads(b"[" + b",".join(lines) + b"]")  # All at once takes a third of the time.
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
