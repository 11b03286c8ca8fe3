"""Opening the database, to read or to write; who finds it locked waits a little, then says who holds it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError
from astraios.store.messages import first_line, one_line
from astraios.store.schema import migrate, migrations_done, outdated

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

DEFAULT_PATH = "astraios.duckdb"
LOCK_PATIENCE_S = 30.0
STORAGE_VERSION = "v1.2.0"
"""Of the file format: the oldest that every supported DuckDB reads and writes."""


def database_path(given: str | Path | None = None) -> Path:
    """`given`, else $ASTRAIOS_DB, else astraios.duckdb in the current folder."""
    return Path(given or os.environ.get("ASTRAIOS_DB") or DEFAULT_PATH)


def open_db(path: str | Path | None = None) -> DuckDBPyConnection:
    """A read-only connection for notebooks: `astraios.open_db().sql("from final_loss").pl()` is a Polars frame.

    It can touch nothing but the database: no other file, no extension, no setting. A database of an older schema is
    brought up to date first.

    Args:
        path: the database; by default $ASTRAIOS_DB, else astraios.duckdb in the current folder.

    Raises:
        StoreError: no database there, or not one of ours, or one of a newer astraios.
    """
    file = database_path(path)
    if not file.exists():
        raise StoreError(f"no database {file}: run `astraios collect` first, or name another one with --db")
    connection = _connect(file, read_only=True)
    try:
        if not migrations_done(connection):
            raise StoreError(f"{file} is not an astraios database: name another one with --db")
        if outdated(connection, file):
            connection.close()
            with writing(file):
                pass
            connection = _connect(file, read_only=True)
        connection.execute("set enable_external_access = false")
        connection.execute("set lock_configuration = true")
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def reading(path: Path) -> Iterator[DuckDBPyConnection]:
    """`open_db` for the length of a block."""
    connection = open_db(path)
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def writing(path: Path) -> Iterator[DuckDBPyConnection]:
    """A connection for one short transaction; makes the database, or brings its schema up to date.

    Raises:
        StoreError: it can't be written, is not one of ours, or stays locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path.parent}: can't be made ({error.strerror})") from None
    connection = _connect(path, read_only=False)
    try:
        migrate(connection, path)
        with one_line(path):
            connection.execute("begin")
            yield connection
            connection.execute("commit")
    finally:
        connection.close()


def query(path: Path, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
    """Rows of a query, read-only.

    Raises:
        StoreError: no such database, or the query is refused; one line.
    """
    with reading(path) as connection:
        return run_query(connection, sql, parameters)


def run_query(connection: DuckDBPyConnection, sql: str, parameters: Sequence[Any] = ()) -> pl.DataFrame:
    """Rows of a query on an open connection.

    Raises:
        StoreError: the query is refused; one line.
    """
    import duckdb
    import polars as pl

    try:
        relation = connection.sql(sql, params=list(parameters)) if parameters else connection.sql(sql)
        if relation is None:
            return pl.DataFrame()
        return relation.pl()
    except duckdb.Error as error:
        raise StoreError(f"SQL: {first_line(error)}") from None


def _connect(path: Path, *, read_only: bool) -> DuckDBPyConnection:
    import duckdb

    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a database: name a file with --db")
    if path.exists() and path.stat().st_size == 0:
        if read_only:
            raise StoreError(f"{path} is an empty file: run `astraios collect` first, or name another one with --db")
        raise StoreError(f"{path} is an empty file, not a database: delete it or name another one with --db")
    until = time.monotonic() + LOCK_PATIENCE_S
    pause = 0.02
    while True:
        try:
            if read_only or path.exists():
                return duckdb.connect(str(path), read_only=read_only)
            return _create(path)
        except duckdb.IOException as error:
            text = str(error)
            if "lock" not in text.lower():
                raise StoreError(f"{path}: can't be opened ({first_line(error)})") from None
            if time.monotonic() > until:
                raise StoreError(
                    f"{path} is held by another process ({_holder(text)}): wait for it or stop it"
                ) from None
        except duckdb.Error as error:
            raise StoreError(f"{path}: not a DuckDB database that can be read ({first_line(error)})") from None
        time.sleep(pause)
        pause = min(0.5, 2 * pause)


def _create(path: Path) -> DuckDBPyConnection:
    """A new database in the oldest file format that is still written, so that older installations can read it."""
    import duckdb

    memory = duckdb.connect()
    literal = str(path).replace("'", "''")
    memory.execute(f"attach '{literal}' as fresh (storage_version '{STORAGE_VERSION}')")
    memory.execute("detach fresh")
    memory.close()
    return duckdb.connect(str(path))


def _holder(text: str) -> str:
    at = text.find("PID")
    return text[at:].split(")")[0].rstrip(".") if at >= 0 else "a lock on the file"
