"""A log whose lines are in the file when `add` returns, where a kill can't reach them, without a system call a line.

Lines are copied into a shared mapping of the file: its pages are the kernel's, like what `write` leaves, and outlast
the process alike. The room is reserved beforehand, so that a full disk is an error and not a signal. Until the log is
closed the file ends in zero bytes, which readers pass over as they do a torn line.
"""

from __future__ import annotations

import functools
import mmap
import os
import sys
from pathlib import Path

from astraios.runs.log import Log

WINDOW = 1 << 16
"""Bytes that are reserved and mapped at a time."""
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay")
"""File systems that keep what is reserved, and on which nobody else's reads lag behind."""


class MappedLog(Log):
    """As `Log` with no pause, of a file on this machine; see `can_map`."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._map: mmap.mmap | None = None
        self._start = self._end = self._room = 0
        """Where in the file the mapping begins, and where in the mapping the lines end and the room does."""

    def add(self, line: bytes) -> None:
        end = self._end + len(line)
        if end <= self._room and not self._waiting:
            self._map[self._end : end] = line  # type: ignore[index]
            self._end = end
        else:
            super().add(line)

    def _write(self, file: int, content: bytes) -> None:
        """Copies lines that the mapping has no room for into the next one."""
        if self._map is None:
            self._end = os.fstat(file).st_size
        at = self._start + self._end
        start = at - at % mmap.ALLOCATIONGRANULARITY
        length = -(-(at - start + len(content) + WINDOW) // WINDOW) * WINDOW
        os.posix_fallocate(file, start, length)
        window = mmap.mmap(file, length, offset=start)
        if self._map is not None:
            self._map.close()
        self._map, self._start, self._room = window, start, length
        self._end = at - start + len(content)
        window[at - start : self._end] = content

    def close(self) -> None:
        """Gives the rest of the room back."""
        self.flush()
        if self._map is not None and self._file is not None:
            self._map.close()
            os.ftruncate(self._file, self._start + self._end)
        self._map, self._start, self._end, self._room = None, 0, 0, 0
        super().close()


def can_map(path: Path) -> bool:
    """Whether logs below a folder can be mapped: on Linux, on a file system that is known to serve for it."""
    return sys.platform == "linux" and _serves(os.path.realpath(path))


@functools.cache
def _serves(place: str) -> bool:
    holding = [mount for mount in _mounts() if os.path.commonpath([mount, place]) == mount]
    return bool(holding) and _mounts()[max(holding, key=len)] in LOCAL


@functools.cache
def _mounts() -> dict[str, str]:
    """File system by mount point; the last one mounted there counts."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    # 36 35 98:0 /root /point options ... - type source options; a space in a name is \040.
    return {line.split()[4].replace("\\040", " "): line.partition(" - ")[2].split()[0] for line in lines}
