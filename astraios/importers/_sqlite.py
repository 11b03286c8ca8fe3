"""sqlite files of trackers, read with what lies in the write-ahead log or the journal beside them."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from astraios.errors import DataError
from astraios.importers._files import head, plain_file

MAGIC = b"SQLite format 3\0"
_LARGEST = 16 << 30


def is_sqlite(path: Path) -> bool:
    """Whether a file is sqlite's by its first bytes."""
    return head(path, 16) == MAGIC


def tables(path: Path) -> frozenset[str]:
    """Names of the tables of an sqlite file; empty where it can't be read."""
    try:
        with opened(path, quick=True) as connection:
            return frozenset(row[0] for row in connection.execute("select name from sqlite_master where type='table'"))
    except (DataError, sqlite3.Error):
        return frozenset()


@contextmanager
def opened(
    path: Path, wanted: Collection[str] = (), whose: str = "", quick: bool = False
) -> Iterator[sqlite3.Connection]:
    """A connection that reads; nothing is written beside the file.

    What was committed to the log beside it (`-wal`), and what a hot journal takes back, is worked into a copy: sqlite
    itself would need to write there.

    Args:
        path: the file.
        wanted: tables that must be there.
        whose: the tool whose file it should be, for messages.
        quick: without looking for damage.

    Raises:
        DataError: it is damaged, or not what `whose` writes.
    """
    beside = [other for end in ("-wal", "-journal") if plain_file(other := path.with_name(path.name + end))]
    beside = [other for other in beside if other.stat().st_size]
    with ExitStack() as stack:
        try:
            if beside:
                uri = _copied(path, beside, Path(stack.enter_context(tempfile.TemporaryDirectory()))).as_uri()
            else:
                uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
            connection = stack.enter_context(closing(sqlite3.connect(uri, uri=True)))
            wrong = ("ok",) if quick else connection.execute("pragma quick_check(1)").fetchone()
            if wrong[0] != "ok":
                raise DataError(f"{path}: damaged: {' '.join(wrong[0].split())}")
            there = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
            if not set(wanted) <= there:
                lacking = ", ".join(sorted(set(wanted) - there))
                raise DataError(f"{path}: an sqlite file, but not {whose}: it has no {lacking}")
            yield connection
        except (sqlite3.Error, OSError) as error:
            raise DataError(f"{path}: not an sqlite file that can be read ({error})") from None


def _copied(path: Path, beside: list[Path], folder: Path) -> Path:
    size = sum(file.stat().st_size for file in (path, *beside))
    if size > _LARGEST:
        raise DataError(f"{path}: too large to be read together with its log: close what writes it")
    for file in (path, *beside):
        shutil.copyfile(file, folder / file.name)
    return folder / path.name
