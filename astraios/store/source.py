"""Where run directories are read from: a folder, or object storage by its URL."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from astraios.errors import MissingExtraError, StoreError
from astraios.records import TABLES, LossPoint, MetricPoint, ScorePoint
from astraios.runs.directory import FORMAT, LOSSES, MANIFEST, METRICS, POINTS, ROWS, attempts_of
from astraios.runs.logged import loss_points, metric_points, score_points
from astraios.runs.parquet import arrow_rows
from astraios.runs.rows import RunRows
from astraios.runs.status import LATELY_S, in_hand

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

    def growing(self) -> list[str]:
        """Directories of runs that others start, whether they have an end or not, in order of name."""
        if self.remote is None:
            return sorted(p.parent.name for p in self.folder.glob(f"*/{ROWS}")) if self.folder.is_dir() else []
        return sorted(path.rsplit("/", 2)[1] for path in self.remote.glob(f"{self.root}/*/{ROWS}"))

    def is_alive(self, name: str) -> bool:
        """Whether a process has a run in hand, as far as can be seen from here."""
        if self.remote is None:
            return in_hand(self.folder / name / "lock")
        try:
            written = self.remote.modified(f"{self.root}/{name}/{LOSSES}")
        except (OSError, NotImplementedError):
            return True
        return time.time() - float(written.timestamp()) < LATELY_S

    def manifests(self) -> tuple[list[Found], dict[str, str]]:
        """Every run directory that has an end, or is being logged, with the hash of what it says; and why some can't be
        read."""
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
        ended = {one.name: one for one in found}
        for name in self.growing():
            if (name not in ended or ended[name].state == "failed") and (run := Growing.look(self, name)) is not None:
                ended[name] = run
        return list(ended.values()), refused

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
    def state(self) -> str | None:
        """done or failed, where it can be read."""
        try:
            return str(self.manifest["state"])
        except (StoreError, KeyError, TypeError):
            return None

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


class Growing(Found):
    """A run that has no end yet, as far as it has come: its logs stand for the files of a manifest."""

    def __init__(self, name: str, contents: Mapping[str, bytes], state: str) -> None:
        super().__init__(name, b"\n".join([state.encode(), *contents.values()]))
        self.contents, self.now = contents, state

    @classmethod
    def look(cls, source: Source, name: str) -> Growing | None:
        """The run of a directory; None where its last attempt has ended or a file is not there yet."""
        contents = {}
        for file in (ROWS, "attempts.jsonl", LOSSES, POINTS, METRICS):
            try:
                contents[file] = source.read(name, file)
            except StoreError:
                contents[file] = b""
        attempts = attempts_of(contents["attempts.jsonl"])
        if not contents[ROWS] or not attempts or attempts[-1]["state"] != "started":
            return None
        return cls(name, contents, "running" if source.is_alive(name) else "interrupted")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What the manifest would say if the run ended now, with the state that it has."""
        try:
            rows = json.loads(self.contents[ROWS])
        except ValueError as error:
            raise StoreError(f"{ROWS}: not readable ({error})") from None
        attempts = attempts_of(self.contents["attempts.jsonl"])
        attempts[-1]["state"] = self.now
        return {"format": FORMAT, "state": self.now, "rows": {**rows, "attempts": attempts}, "files": {}}

    @property
    def n_rows(self) -> int:
        return sum(content.count(b"\n") for content in self.contents.values())

    def tables(self) -> dict[str, pa.Table]:
        """Rows by name of the Parquet file that they would be in."""
        number = self.manifest["rows"]["attempts"][-1]["attempt"]
        try:
            points: dict[type, list[Any]] = {
                LossPoint: loss_points(self.contents[LOSSES]),
                ScorePoint: score_points(self.contents[POINTS]),
                MetricPoint: metric_points(self.contents[METRICS]),
            }
            return {
                str(table.file): arrow_rows(table, points[table.record], number)
                for table in TABLES.values()
                if points.get(table.record)
            }
        except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
            raise StoreError(f"{LOSSES}, {POINTS} or {METRICS}: not what a log holds ({error})") from None


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
        tables = found.tables() if isinstance(found, Growing) and rows else {}
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
