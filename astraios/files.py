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


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Writes a file so that it is there whole or not at all, even when the machine stops.

    One that is there stays as open to others as it is; what could not be written whole leaves nothing behind.

    Args:
        path: the file; its folder is there.
        content: all of it.
        durable: False where a stop of the machine, not of the process, may leave it empty.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    mode = stat.S_IMODE(path.stat().st_mode) if path.is_file() else 0o666
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        with open(temporary, "wb", opener=lambda name, _: os.open(name, flags, mode)) as file:
            if path.is_file():
                os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
