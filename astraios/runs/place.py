"""Run directories on object storage: s3://bucket/runs and whatever else fsspec knows.

A process that trains works in a folder of its own machine: it brings down what the storage has of its run, and takes up
what has changed at each checkpoint, after each task and at the end, the manifest last. The process that schedules keeps
a mirror of the small files. On a shared folder none of this happens: what is written is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from astraios.errors import MissingExtraError, StoreError
from astraios.files import cache_dir, write_atomically
from astraios.runs.directory import LOSSES, MANIFEST, METRICS, POINTS, ROWS

THREADS = 16
SMALL = ("cell.json", "attempts.jsonl", ROWS, LOSSES, POINTS, METRICS, "trained.json", MANIFEST)
"""Files of a run directory that say how it stands."""
STATE = "checkpoint.pt"
LOCAL = ("lock",)
"""Files that mean something on their own machine alone."""
INDEX = ".storage.json"


def is_url(out: str | Path) -> bool:
    """Whether this is a place that fsspec is asked for, rather than a folder."""
    return "://" in str(out)


class Place:
    """Where run directories are.

    Args:
        out: a folder, or a URL.
        role: "mirror" for who looks on, "work" for who trains: each has a folder of its own, so that both can be on one
            machine.

    Raises:
        MissingExtraError: a URL whose package is not installed.
        StoreError: a URL that means nothing.
    """

    def __init__(self, out: str | Path, role: str = "mirror") -> None:
        self.url = str(out).rstrip("/") if is_url(out) else None
        self.role = role
        self.seen: dict[str, str] = {}
        """Version of each file, by its path under the URL, that the folder here has."""
        self.sent: dict[str, tuple[int, int]] = {}
        if self.url is None:
            self.path = Path(os.path.realpath(out))
            return
        self.files, self.root = _file_system(self.url)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self.path = cache_dir() / "storage" / name / role
        with contextlib.suppress(OSError, ValueError):
            self.seen = json.loads((self.path / INDEX).read_text(encoding="utf-8"))

    @property
    def address(self) -> str:
        """What another process is to be given as --out."""
        return self.url or str(self.path)

    def fetch(self, run_id: str | None = None, whole: bool = False) -> None:
        """Brings down what is new.

        Args:
            run_id: of one run; None: of all, and then only the small files.
            whole: everything of it, its state and what was tuned too; else what says how it stands, and its tables.
        """
        if self.url is None:
            return
        start = f"{self.root}/{run_id}" if run_id else self.root
        with _told(self.url):
            self.files.invalidate_cache()
            found = self.files.find(start, detail=True)
        wanted = {}
        for path, facts in found.items():
            relative = path.removeprefix(f"{self.root}/")
            if self._is_wanted(relative, run_id, whole):
                wanted[relative] = _version(facts)
        self._drop_missing(run_id, wanted)
        fresh = [relative for relative, version in wanted.items() if self.seen.get(relative) != version]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._bring, fresh))
        self.seen.update({relative: wanted[relative] for relative in fresh})
        if fresh and self.role == "mirror":
            write_atomically(self.path / INDEX, json.dumps(self.seen).encode())

    def _is_wanted(self, relative: str, run_id: str | None, whole: bool) -> bool:
        parts = relative.split("/")
        if len(parts) < 2 or parts[0].startswith("."):
            return False
        if whole:
            return parts[1] not in LOCAL
        small = parts[1] in SMALL or parts[1] == STATE
        return len(parts) == 2 and (small or (run_id is not None and parts[1].endswith(".parquet")))

    def _drop_missing(self, run_id: str | None, wanted: Iterable[str]) -> None:
        """A manifest that was set aside and a state that is done with are gone here too."""
        wanted = set(wanted)
        for relative in [r for r in self.seen if r not in wanted and (run_id is None or r.startswith(f"{run_id}/"))]:
            if relative.endswith((f"/{MANIFEST}", f"/{STATE}")):
                (self.path / relative).unlink(missing_ok=True)
                del self.seen[relative]

    def _bring(self, relative: str) -> None:
        target = self.path / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        if relative.endswith(f"/{STATE}") and self.role == "mirror":
            target.touch()  # That it is there is all that is asked here.
            return
        with _told(str(self.url)):
            write_atomically(target, self.files.cat_file(f"{self.root}/{relative}"))
        facts = target.stat()
        self.sent[relative] = facts.st_mtime_ns, facts.st_size

    def push(self, run_id: str) -> None:
        """Takes up what has changed here, the manifest last, and what is gone here goes there too.

        Raises:
            StoreError: the storage can't be written.
        """
        if self.url is None:
            return
        folder = self.path / run_id
        paths = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name not in LOCAL]
        if self.role == "mirror":
            paths = [p for p in paths if p.name != STATE]
        changed = []
        for path in sorted(paths, key=lambda p: (p.name == MANIFEST, p)):
            relative, facts = path.relative_to(self.path).as_posix(), path.stat()
            if self.sent.get(relative) != (facts.st_mtime_ns, facts.st_size):
                changed.append((relative, path, (facts.st_mtime_ns, facts.st_size)))
        with _told(self.url):
            for relative, path, facts_sent in changed:
                # One request an object: it is there whole or not at all.
                self.files.pipe_file(f"{self.root}/{relative}", path.read_bytes())
                self.sent[relative] = facts_sent
            for name in (MANIFEST, STATE):
                if f"{run_id}/{name}" in self.sent and not (folder / name).exists():
                    del self.sent[f"{run_id}/{name}"]
                    with contextlib.suppress(FileNotFoundError):
                        self.files.rm_file(f"{self.root}/{run_id}/{name}")


def _file_system(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise MissingExtraError("fsspec", "cloud", f"run directories at {url}") from None
    try:
        files, root = url_to_fs(url)
    except ImportError as error:
        raise MissingExtraError(str(error), "cloud", f"run directories at {url}") from None
    except ValueError as error:
        raise StoreError(f"--out {url}: {error}") from None
    return files, root.rstrip("/")


def _version(facts: dict[str, Any]) -> str:
    """What changes when a file does."""
    tag = facts.get("ETag") or facts.get("etag") or facts.get("created") or facts.get("mtime") or ""
    return f"{tag} {facts.get('size')} {facts.get('LastModified') or ''}"


@contextlib.contextmanager
def _told(url: str) -> Any:
    """Errors of a storage in one line."""
    try:
        yield
    except FileNotFoundError:
        raise StoreError(f"{url}: no such bucket or folder") from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.filename and os.path.exists(error.filename):
            raise
        line = " ".join(str(error).split())[:300] or type(error).__name__
        raise StoreError(f"{url}: {line}; the same command goes on when it answers again") from None
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("botocore", "aiobotocore", "aiohttp"):
            raise
        raise StoreError(f"{url}: {' '.join(str(error).split())[:300]}") from None
