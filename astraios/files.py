"""Where astraios keeps what it built and can build again: $ASTRAIOS_CACHE, else the user's cache folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from astraios.errors import StoreError, why


def cache_dir() -> Path:
    """The folder; it need not exist yet."""
    if own := os.environ.get("ASTRAIOS_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "astraios"


@contextlib.contextmanager
def exclusive(path: Path, *, wait: float, what: str) -> Iterator[None]:
    """Holds an advisory lock on a file beside what it protects; it goes with the process, however that ends.

    Args:
        path: the lock file; made where it is missing, and left behind.
        wait: seconds to wait for another holder.
        what: how an error calls what is locked.

    Raises:
        StoreError: another process still holds it, or the folder can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{path} is a link, and what it leads to is not opened: remove the link") from None
        raise StoreError(f"{path.parent}: can't be written ({why(error)})") from None
    try:
        until = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise StoreError(f"{what} is in the hands of another astraios process; stop it or wait") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def write_atomically(path: Path | str, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that it is there whole or not at all, even when the machine stops.

    One that is there stays as open to others as it is; what could not be written whole leaves nothing behind.

    Args:
        path: the file; its folder is there.
        content: all of it.
        durable: False where a stop of the machine, not of the process, may leave it empty.
    """
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}.tmp")
    mode = _mode(path)
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode or 0o666)
        try:
            if mode is not None:
                os.fchmod(handle, mode)
            write_all(handle, content)
            if durable:
                os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write_all(handle: int, content: bytes) -> None:
    """Writes to a descriptor, in several calls where one does not take it all."""
    left = memoryview(content)
    while left:
        left = left[os.write(handle, left) :]


def _mode(path: Path | str) -> int | None:
    """Permissions of a file; None where there is none."""
    try:
        found = os.stat(path).st_mode
    except OSError:
        return None
    return stat.S_IMODE(found) if stat.S_ISREG(found) else None
