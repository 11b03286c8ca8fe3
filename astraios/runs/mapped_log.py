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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from astraios.runs.log import Log

WINDOW = 1 << 16
"""Bytes that are reserved and mapped at a time."""
LOCAL = ("ext2", "ext3", "ext4", "xfs", "btrfs", "tmpfs", "overlay")
"""File systems that keep what is reserved, and on which nobody else's reads lag behind."""


class MappedLog(Log):
    """As `Log` with no pause, of a file on this machine; see `can_map`."""

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self._map: mmap.mmap | None = None
        self._start = 0
        """Where in the file the mapping begins."""
        self._end: int | None = None
        """Where in the file the lines end, while nothing is mapped."""
        self.put: Callable[[bytes], Any] = _no_room
        """Appends a line in one step that no other thread can come between; raises ValueError where the mapping has no
        room, and after `flush`: then the line is for `add`, which one thread may call at a time."""

    def add(self, line: bytes) -> None:
        try:
            self.put(line)
        except ValueError:
            super().add(line)

    def flush(self) -> None:
        """As `Log.flush`; `put` refuses what comes afterwards, until `add` has been called."""
        super().flush()
        if self._map is not None:
            self._unmap()

    def _unmap(self) -> None:
        """Ends the mapping where the lines end: who takes the rest of its room leaves none to anybody else."""
        assert self._map is not None
        self._end = self._start + len(self._map) - len(self._map.read())
        self._map.close()
        self._map, self.put = None, _no_room

    def _write(self, file: int, content: bytes) -> None:
        """Copies lines that the mapping has no room for into the next one."""
        if self._map is not None:
            self._unmap()
        at = self._end if self._end is not None else os.fstat(file).st_size
        start = at - at % mmap.ALLOCATIONGRANULARITY
        length = -(-(at - start + len(content) + WINDOW) // WINDOW) * WINDOW
        os.posix_fallocate(file, start, length)
        window = mmap.mmap(file, length, offset=start)
        window.seek(at - start)
        window.write(content)
        self._map, self._start, self._end, self.put = window, start, None, window.write

    def close(self) -> None:
        """Gives the rest of the room back."""
        self.flush()
        if self._file is not None and self._end is not None:
            os.ftruncate(self._file, self._end)
        self._end = None
        super().close()


def _no_room(line: bytes) -> None:
    raise ValueError


def can_map(path: Path) -> bool:
    """Whether logs below a folder can be mapped: on Linux, on a file system that is known to serve for it.

    Args:
        path: of the folder, without links in it.
    """
    return sys.platform == "linux" and _serves(os.fspath(path))


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
