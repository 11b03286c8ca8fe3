"""Where run directories are read from: a folder, or object storage by its URL."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from astraios.errors import MissingExtraError, StoreError
from astraios.runs.directory import FORMAT, MANIFEST
from astraios.runs.rows import RunRows

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
R = TypeVar("R")

THREADS = 16
"""Files asked for at once where an answer takes time."""
SLOW_S = 0.0005
"""A file that takes longer comes over a network; threads do nothing but harm where it does not."""


class Source:
    """The run directories under a folder or a URL such as s3://bucket/runs (which needs fsspec)."""

    def __init__(self, out: str | Path) -> None:
        self.remote: Any = None
        self._slow: bool | None = None
        if "://" in str(out):
            try:
                from fsspec.core import url_to_fs
            except ImportError:
                raise MissingExtraError("fsspec", "cloud", f"reading {out}") from None
            try:
                self.remote, self.root = url_to_fs(str(out))
            except (ValueError, ImportError) as error:
                raise StoreError(f"{out}: {error}") from None
        else:
            self.folder = Path(out)

    def names(self) -> list[str]:
        """Directories that have a manifest, in order of name."""
        if self.remote is None:
            return sorted(p.parent.name for p in self.folder.glob(f"*/{MANIFEST}")) if self.folder.is_dir() else []
        return sorted(path.rsplit("/", 2)[1] for path in self.remote.glob(f"{self.root}/*/{MANIFEST}"))

    def read(self, name: str, file: str) -> bytes:
        """One file of a run directory.

        Raises:
            StoreError: it is not there or can't be read.
        """
        try:
            if self.remote is None:
                return (self.folder / name / file).read_bytes()
            content: bytes = self.remote.cat_file(f"{self.root}/{name}/{file}")
        except OSError as error:
            raise StoreError(f"{file}: can't be read ({error.strerror or error}); have the run done again") from None
        return content

    def manifests(self) -> tuple[list[Found], dict[str, str]]:
        """Every finished run directory with the hash of its manifest; and why some can't be read."""
        found, refused = [], {}

        def look(name: str) -> Found | StoreError:
            try:
                return Found(name, self.read(name, MANIFEST))
            except StoreError as error:
                return error

        names = self.names()
        for name, one in zip(names, self.each(look, names), strict=True):
            if isinstance(one, StoreError):
                refused[name] = str(one)
            else:
                found.append(one)
        return found, refused

    def each(self, function: Callable[[T], R], items: Sequence[T]) -> Iterator[R]:
        """Results of a function that reads, in order: several at once where reading means waiting."""
        if self._slow is None and len(items) > 1:
            start = time.perf_counter()
            first = function(items[0])
            self._slow = self.remote is not None or time.perf_counter() - start > SLOW_S
            yield first
            items = items[1:]
        if self._slow:
            with ThreadPoolExecutor(THREADS) as pool:
                yield from pool.map(function, items)
        else:
            yield from map(function, items)


class Found:
    """A manifest as it was found, not yet understood."""

    def __init__(self, name: str, content: bytes) -> None:
        self.name = name
        self.content = content
        self.content_hash = hashlib.sha256(content).hexdigest()[:32]

    @property
    def n_rows(self) -> int:
        """Rows that it promises; 0 where it can't be read."""
        try:
            return sum(int(facts["rows"]) for facts in self.manifest["files"].values())
        except (StoreError, KeyError, TypeError, ValueError, AttributeError):
            return 0

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What it says.

        Raises:
            StoreError: it is torn, or of another layout.
        """
        try:
            manifest: dict[str, Any] = json.loads(self.content)
            layout = manifest["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{MANIFEST}: not readable ({error}); delete the file to have the run done again"
            ) from None
        if layout != FORMAT:
            raise StoreError(f"{MANIFEST}: layout {layout}, this astraios reads {FORMAT}")
        return manifest


@dataclass(frozen=True)
class RunFiles:
    """A run directory that has been read and found whole."""

    name: str
    manifest: dict[str, Any]
    rows: RunRows
    content_hash: str
    tables: dict[str, pa.Table]
    """Rows by name of the Parquet file."""

    @classmethod
    def read(cls, source: Source, found: Found, *, rows: bool = True) -> RunFiles:
        """Reads every file that the manifest names and compares it with what the manifest says.

        Raises:
            StoreError: one of them is not there or not what it was.
        """
        return cls.understand(found, cls.fetch(source, found), rows=rows)

    @staticmethod
    def fetch(source: Source, found: Found) -> dict[str, bytes]:
        """The content of every file that the manifest names.

        Raises:
            StoreError: one of them is not there, or the manifest can't be read.
        """
        try:
            manifest = found.manifest
            names = [name for name, facts in manifest["files"].items() if (facts["sha256"], facts["rows"])]
            manifest["rows"]["run"]["run_id"], manifest["rows"]["attempts"][0]["started_at"]
        except (KeyError, TypeError, IndexError, AttributeError) as error:
            raise StoreError(f"{MANIFEST}: {error} is missing; delete the file to have the run done again") from None
        return {name: source.read(found.name, name) for name in names}

    @classmethod
    def understand(cls, found: Found, contents: dict[str, bytes], *, rows: bool = True) -> RunFiles:
        """Compares what `fetch` gave with the manifest, and reads its rows where they are wanted.

        Raises:
            StoreError: a file is not what it was.
        """
        import pyarrow as pa
        from pyarrow import parquet

        try:
            said = RunRows.from_json(found.manifest["rows"])
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            reason = error if isinstance(error, ValueError) else f"{error} is missing"
            raise StoreError(f"{MANIFEST}: {reason}; delete the file to have the run done again") from None
        tables = {}
        for name, facts in found.manifest["files"].items():
            if hashlib.sha256(contents[name]).hexdigest() != facts["sha256"]:
                raise StoreError(f"{name} is not what the manifest says; delete {MANIFEST} to have it written again")
            if rows and facts["rows"]:
                file = parquet.ParquetFile(pa.BufferReader(contents[name]), pre_buffer=False)
                tables[name] = file.read(use_threads=False)
                if len(tables[name]) != facts["rows"]:
                    raise StoreError(
                        f"{name} has not as many rows as {MANIFEST} says; delete it to have it written again"
                    )
        return cls(found.name, found.manifest, said, found.content_hash, tables)

    @property
    def run_id(self) -> str:
        return self.rows.run.run_id

    @property
    def age(self) -> tuple[str, str]:
        """Orders two states of the same run: when it was last worked on, then its hash."""
        last = self.rows.attempts[-1]
        return str(last.finished_at or last.started_at), self.content_hash
