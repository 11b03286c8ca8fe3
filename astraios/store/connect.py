"""Opening the database: readers at any time, one writer at a time, each write published whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError
from astraios.store.lake import attach_lake, data_folder, forbid_all_but_reading, is_lake, lake_lock, there
from astraios.store.lock import Patience, writer_lock
from astraios.store.messages import MEND, first_line, is_damage, one_line
from astraios.store.publish import keep, new_version
from astraios.store.schema import (
    macros_of_connection,
    migrate,
    migrations_done,
    outdated,
    refuse_changed,
    refuse_foreign,
    work_out_once,
)

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

DEFAULT_PATH = "astraios.duckdb"
STORAGE_VERSION = "v1.2.0"
"""Of the file format: the oldest that every supported DuckDB reads and writes."""
CATALOG = "astraios"
"""Name under which a connection knows the database."""


def database_path(given: str | Path | None = None) -> Path:
    """`given`, else $ASTRAIOS_DB, else astraios.duckdb in the current folder."""
    return Path(given or os.environ.get("ASTRAIOS_DB") or DEFAULT_PATH)


def open_db(path: str | Path | None = None) -> DuckDBPyConnection:
    """A read-only connection for notebooks: `astraios.open_db().sql("from final_loss").pl()` is a Polars frame.

    It shows the database as it was when it was opened, whatever is written meanwhile, and keeps nobody from writing. It
    can touch nothing but the database: no other file, no extension, no setting. A database of an older schema is
    brought up to date first.

    Args:
        path: the database; by default $ASTRAIOS_DB, else astraios.duckdb in the current folder.

    Raises:
        StoreError: no database there, or not one of ours, or one of a newer astraios.
    """
    file = database_path(path)
    if not there(file):
        raise StoreError(f"no database {file}: run `astraios collect` first, or name another one with --db")
    connection = attach(file, read_only=True)
    try:
        with one_line(file):
            refuse_changed(connection, file)
            if not migrations_done(connection):
                raise StoreError(
                    f"{file} is not an astraios database (it holds tables that are not astraios's, or none): "
                    "name another one with --db"
                )
            old = outdated(connection, file)
        if old:
            connection.close()
            with writing(file):
                pass
            connection = attach(file, read_only=True)
        if is_lake(file):
            connection.execute(macros_of_connection())
            connection.execute("set allowed_directories = ?", [[data_folder(connection, CATALOG)]])
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
def reading_much(path: Path) -> Iterator[DuckDBPyConnection]:
    """As `reading`, for dozens of questions: what most views read is worked out once, in memory, at the beginning."""
    with reading(path) as connection:
        if not is_lake(path):  # Its tables are files that are read again for each question, wherever the views stand.
            with one_line(path):
                connection.execute("use memory")
                work_out_once(connection, CATALOG)
        yield connection


@contextmanager
def writing(path: Path, *, anew: bool = False, beside: tuple[Path, str] | None = None) -> Iterator[DuckDBPyConnection]:
    """A connection in a transaction, on a copy that is published when the block ends well; else nothing has happened.

    Makes the database where there is none, and brings its schema up to date (the old version is then kept beside it).

    Args:
        path: the database.
        anew: begin with an empty one, to replace what is there.
        beside: another database and the name under which it can be read.

    Raises:
        StoreError: it can't be written, is not one of ours, or stays locked.
    """
    if is_lake(path):
        with _writing_lake(path) as connection:
            yield connection
        return
    path = path.resolve()
    if path.is_dir():
        raise StoreError(f"{path} is a folder, not a database: name a file with --db")
    with writer_lock(path):
        if not anew:
            _settle(path)
        with new_version(path, anew=anew) as work:
            connection = attach(work, read_only=False, named=path, beside=beside)
            try:
                pending = migrate(connection, path)
                if pending and path.exists() and not anew:
                    keep(path, path.with_name(f"{path.name}.before-{pending[0]}"))
                with one_line(path):
                    connection.execute("begin")
                    yield connection
                    connection.execute("commit")
                    connection.execute(f"checkpoint {CATALOG}")
            finally:
                connection.close()


@contextmanager
def _writing_lake(path: Path) -> Iterator[DuckDBPyConnection]:
    with lake_lock(path):
        connection = attach(path, read_only=False)
        try:
            with one_line(path):
                refuse_foreign(connection, path)
                migrate(connection, path, lake=True)
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
        if is_lake(path):
            forbid_all_but_reading(connection, path, sql)
        return run_query(connection, sql, parameters)


def glimpse(path: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Rows of a query on a file as it is, for a look that may not wait, write or fail: completion in a shell.

    A lake, a file that another program keeps locked or whose schema is too old for the query, and no file give no rows.
    """
    import duckdb

    if is_lake(path) or not path.is_file():
        return []
    try:
        with duckdb.connect() as connection:
            connection.execute(f"attach {_text(path)} as {CATALOG} (type duckdb, read_only)")
            connection.execute("set enable_external_access = false")
            connection.execute("set lock_configuration = true")
            connection.execute(f"use {CATALOG}")
            return connection.execute(sql, list(parameters)).fetchall()
    except duckdb.Error:
        return []


def change(path: Path, sql: str) -> pl.DataFrame:
    """Rows of statements that may change the database; all of them count, or none. They can use no other file.

    Raises:
        StoreError: the database can't be written, or a statement is refused; one line.
    """
    with writing(path) as connection:
        return run_query(connection, sql)


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
        if is_damage(error):
            raise StoreError(f"the database is damaged ({first_line(error)}): {MEND}") from None
        raise StoreError(f"SQL: {first_line(error)}") from None


def attach(
    path: Path, *, read_only: bool, named: Path | None = None, beside: tuple[Path, str] | None = None
) -> DuckDBPyConnection:
    """A new connection with the file attached; it shares nothing with other connections of this process.

    From then on it can touch no other file, no extension and no setting, for reading or writing: nothing that the file
    holds, a view for instance, runs before that. What comes from other files is read by another connection.

    Args:
        path: the file.
        read_only: open it so.
        beside: a second database and the name under which it is attached, to be read.
        named: what messages call it, where that is not `path`.

    Raises:
        StoreError: it is not a database, or a foreign program keeps it locked.
    """
    import duckdb

    named = named or path
    if is_lake(path):
        connection = duckdb.connect()
        attach_lake(connection, path, CATALOG, read_only=read_only)
        connection.execute(f"use {CATALOG}")
        return connection
    if path.is_dir():
        raise StoreError(f"{named} is a folder, not a database: name a file with --db")
    if path.exists() and path.stat().st_size == 0:
        if read_only:
            raise StoreError(f"{named} is an empty file: run `astraios collect` first, or name another one with --db")
        raise StoreError(f"{named} is an empty file, not a database: delete it or name another one with --db")
    options = "read_only" if read_only else f"storage_version '{STORAGE_VERSION}'"
    patience = Patience(named)
    connection = duckdb.connect()
    try:
        while True:
            try:
                connection.execute(f"attach {_text(path)} as {CATALOG} (type duckdb, {options})")
                if beside:
                    connection.execute(f"attach {_text(beside[0])} as {beside[1]} (type duckdb, read_only)")
                connection.execute("set enable_external_access = false")
                connection.execute("set lock_configuration = true")
                connection.execute(f"use {CATALOG}")
                return connection
            except duckdb.IOException as error:
                if "could not set lock" not in str(error).lower():
                    raise
                patience.wait(_holder(str(error)))
    except duckdb.Error as error:
        connection.close()
        raise StoreError(f"{named}: not a DuckDB database that can be read ({first_line(error)}): {MEND}") from None
    except BaseException:
        connection.close()
        raise


def _settle(path: Path) -> None:
    """Makes sure that nobody else is writing to the file itself, and that its log is in it, before it is copied.

    Our own writers never write to it; a program that opened it with DuckDB might, or was killed while it did.
    """
    if not path.exists():
        return
    log = path.with_name(path.name + ".wal")
    connection = attach(path, read_only=not log.exists())
    try:
        with one_line(path):
            refuse_changed(connection, path)
            refuse_foreign(connection, path)
            if log.exists():
                connection.execute(f"checkpoint {CATALOG}")
    finally:
        connection.close()


def _text(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _holder(text: str) -> str:
    at = text.find("PID")
    return text[at:].split(")")[0].rstrip(".") if at >= 0 else "a lock on the file"
