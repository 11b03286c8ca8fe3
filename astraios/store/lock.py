"""The writer's lock: one writer at a time on a database, and whoever waits is told who holds it.

It is a lock file beside the database (`flock`, which shared file systems honour too); the system takes it back when its
holder dies, however it dies. Readers never need it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astraios.errors import StoreError, why

PATIENCE_S = 30.0
"""How long a writer waits for another one, and anybody for a foreign program."""
SILENCE_S = 2.0
"""How long one waits before saying so."""

_log = logging.getLogger("astraios.store")


def signature() -> str:
    """Who this process is, for those who wait for it."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:3]] if sys.argv else []
    return f"PID {os.getpid()} on {socket.gethostname()}, since {time.strftime('%H:%M:%S')}, {' '.join(words)[:80]}"


class Patience:
    """Pauses of growing length until a lock is given up; says once who is waited for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start = time.monotonic()
        self.pause = 0.01
        self.told = False

    def wait(self, holder: str) -> None:
        """One pause.

        Raises:
            StoreError: it took too long.
        """
        waited = time.monotonic() - self.start
        if waited > PATIENCE_S:
            raise StoreError(
                f"{self.path} is held by another process ({holder}); waited {waited:.0f} s: wait for it or stop it"
            )
        if waited > SILENCE_S and not self.told:
            _log.warning("waiting for %s, held by %s", self.path, holder)
            self.told = True
        time.sleep(self.pause)
        self.pause = min(0.25, 1.5 * self.pause)


@contextmanager
def writer_lock(path: Path) -> Iterator[None]:
    """Held for the length of a block.

    Raises:
        StoreError: another writer keeps it, or the folder can't be written.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise StoreError(f"{lock} is a link, and what it leads to is not opened: remove the link") from None
        raise StoreError(f"{path.parent}: can't be written ({why(error)})") from None
    try:
        patience = Patience(path)
        while not _taken(descriptor, lock):
            patience.wait(_read(descriptor) or "its lock file does not say by whom")
        _write(descriptor, signature())
        yield
        _write(descriptor, "")
    finally:
        os.close(descriptor)


def _taken(descriptor: int, lock: Path) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StoreError(
            f"{lock}: this file system has no locks ({error.strerror}); keep the database on one"
        ) from None
    return True


def _read(descriptor: int) -> str:
    return os.pread(descriptor, 400, 0).decode(errors="replace").strip()


def _write(descriptor: int, text: str) -> None:
    """What the lock file says; on a full disk it says nothing, and locks all the same."""
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, text.encode(), 0)
    except OSError:
        return
