"""Where run directories are read from: a folder, or object storage by its URL."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.spool import FORMAT, MANIFEST
from astraios.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    import pyarrow as pa

THREADS = 4


class Source:
    """The run directories under a folder or a URL such as s3://bucket/runs (which needs fsspec)."""

    def __init__(self, out: str | Path) -> None:
        self.remote: Any = None
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
        with ThreadPoolExecutor(THREADS) as pool:
            for name, one in zip(names, pool.map(look, names), strict=True):
                if isinstance(one, StoreError):
                    refused[name] = str(one)
                else:
                    found.append(one)
        return found, refused


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
        except (StoreError, KeyError, TypeError, ValueError):
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
    content_hash: str
    tables: dict[str, pa.Table]
    """Rows by name of the Parquet file."""

    @classmethod
    def read(cls, source: Source, found: Found, *, rows: bool = True) -> RunFiles:
        """Reads every file that the manifest names and compares it with what the manifest says.

        Raises:
            StoreError: one of them is not there or not what it was.
        """
        import pyarrow as pa
        from pyarrow import parquet

        manifest, tables = found.manifest, {}
        try:
            facts = [(name, fact["sha256"], fact["rows"]) for name, fact in manifest["files"].items()]
            manifest["rows"]["run"]["run_id"], manifest["rows"]["attempts"][0]["started_at"]
        except (KeyError, TypeError, IndexError) as error:
            raise StoreError(f"{MANIFEST}: {error} is missing; delete the file to have the run done again") from None
        for name, digest, count in facts:
            content = source.read(found.name, name)
            if hashlib.sha256(content).hexdigest() != digest:
                raise StoreError(f"{name} is not what the manifest says; delete {MANIFEST} to have it written again")
            if rows and count:
                tables[name] = parquet.ParquetFile(pa.BufferReader(content), pre_buffer=False).read(use_threads=False)
        return cls(found.name, manifest, found.content_hash, tables)

    @property
    def run_id(self) -> str:
        return str(self.manifest["rows"]["run"]["run_id"])

    @property
    def age(self) -> tuple[str, str]:
        """Orders two states of the same run: when it was last worked on, then its hash."""
        last = self.manifest["rows"]["attempts"][-1]
        return str(last.get("finished_at") or last["started_at"]), self.content_hash
