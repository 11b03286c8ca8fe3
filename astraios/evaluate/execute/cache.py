"""Verdicts kept in a file beside the runs, one JSON object a line, so that nothing is judged twice."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from astraios.errors import StoreError
from astraios.evaluate.execute import Verdict


class VerdictCache:
    """Verdicts by `Program.key`. Each is appended as soon as it is known, in one write.

    A line cut short by an interruption is passed over; several processes may append at once.

    Args:
        path: the file; made with its folders when the first verdict is stored. None keeps verdicts in memory only.

    Raises:
        StoreError: the file can't be read or is no verdict cache.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.known: dict[str, Verdict] = {}
        self._descriptor: int | None = None
        if path and path.exists():
            self._load(path)

    def _load(self, path: Path) -> None:
        try:
            lines = path.read_bytes().split(b"\n")
        except OSError as error:
            raise StoreError(f"verdict cache {path}: {error.strerror}") from None
        bad = 0
        for line in filter(None, lines):
            try:
                row = json.loads(line)
                self.known[row["key"]] = Verdict(row["verdict"], row["detail"], row["isolation"], row["cpu_seconds"])
            except (ValueError, KeyError, TypeError):
                bad += 1
        if bad and not self.known and len(lines) > 2:
            raise StoreError(f"{path} is no verdict cache: remove it or name another")

    def __enter__(self) -> VerdictCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.known)

    def __iter__(self) -> Iterator[str]:
        return iter(self.known)

    def get(self, key: str) -> Verdict | None:
        """The verdict, if it is known."""
        return self.known.get(key)

    def put(self, key: str, verdict: Verdict, language: str) -> None:
        """Remember a verdict; those that say nothing about the program are not kept."""
        if not verdict.judged or key in self.known:
            return
        self.known[key] = verdict
        if self.path is None:
            return
        row = {
            "key": key,
            "language": language,
            "verdict": verdict.verdict,
            "detail": verdict.detail,
            "isolation": verdict.isolation,
            "cpu_seconds": round(verdict.cpu_seconds, 4),
        }
        if self._descriptor is None:
            self._descriptor = self._open(self.path)
        os.write(self._descriptor, json.dumps(row).encode() + b"\n")

    def _open(self, path: Path) -> int:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")
            return descriptor
        except OSError as error:
            raise StoreError(f"verdict cache {path}: {error.strerror}") from None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
