"""A new version of the database, made beside the old one and put in its place by one rename.

The file that carries the database's name is never written to. A writer works on a copy of its own, and publishes it
when the work is done; who has the old version open keeps reading it. So a reader is never locked out and never stops a
writer, and whatever kills a writer (a signal, a full disk) leaves the old version as it was. The price is a copy for
each write: none on file systems that share blocks (Btrfs, XFS), a second for a gigabyte or two elsewhere.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astraios.errors import StoreError, is_full

_FICLONE = 0x40049409
"""Linux: let the other file share this one's blocks until either changes."""


@contextmanager
def new_version(path: Path, *, anew: bool = False) -> Iterator[Path]:
    """A private file to work on; at the end of the block it becomes `path`, if the block ends well.

    Only for who holds the writer's lock. What a killed writer has left behind is cleared away.

    Args:
        path: the database.
        anew: begin with nothing instead of a copy.

    Raises:
        StoreError: the file can't be written; `path` is as it was.
    """
    work = path.with_name(path.name + ".writing")
    mode = path.stat().st_mode & 0o777 if path.exists() else None
    umask = os.umask(0o777 & ~mode) if mode is not None else None
    try:
        discard(work)
        if path.exists() and not anew:
            copy(path, work)
        yield work
        if mode is not None:
            os.chmod(work, mode)
        _flush(work)
        os.replace(work, path)
        _flush(path.parent)
    except OSError as error:
        discard(work)
        raise StoreError(f"{path}: {reason(error)}") from None
    except BaseException:
        discard(work)
        raise
    finally:
        if umask is not None:
            os.umask(umask)


def copy(source: Path, target: Path) -> None:
    """A copy of a file that nobody changes, as open to others as it is; shares its blocks where the system can."""
    with open(source, "rb") as old, open(target, "wb") as new:
        os.fchmod(new.fileno(), os.fstat(old.fileno()).st_mode & 0o777)
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        except OSError:
            if not _in_kernel(old.fileno(), new.fileno()):
                shutil.copyfileobj(old, new, 1 << 22)


def keep(path: Path, target: Path) -> None:
    """Keeps the version that `path` names now under another name too, before it is replaced."""
    try:
        target.unlink(missing_ok=True)
        os.link(path, target)
    except OSError:
        copy(path, target)


def discard(work: Path) -> None:
    work.unlink(missing_ok=True)
    work.with_name(work.name + ".wal").unlink(missing_ok=True)


def reason(error: OSError) -> str:
    """An operating system's error in words."""
    if is_full(error):
        return "the disk is full; the database is as it was: free some space and run the same command again"
    return f"can't be written ({error.strerror or error})"


def _in_kernel(old: int, new: int) -> bool:
    """Copies without passing through this process; False where nothing was copied because the kernel can't."""
    done = 0
    try:
        while count := os.copy_file_range(old, new, 1 << 30):
            done += count
    except OSError as error:
        if done or is_full(error):
            raise
        return False
    return True


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
