"""Making the database anew from the run directories, and telling whether two databases say the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.errors import StoreError
from astraios.store.connect import attach, reading, writing
from astraios.store.ingest import add_runs, reading_ahead
from astraios.store.lake import attach_lake, is_lake
from astraios.store.publish import keep
from astraios.store.rows import KEYS, LOAD_KEY, OWN_TABLES, RUN_TABLES, columns_of, merge, next_load_key, quoted
from astraios.store.schema import MAIN, refuse_changed, refuse_foreign
from astraios.store.source import Source

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True)
class RebuildReport:
    """What a rebuild did."""

    n_runs: int
    """Runs from run directories."""
    n_carried: int
    """Runs that only the old database had: imports, scored generations, directories that are gone or damaged."""
    carried: Mapping[str, int]
    """Other rows that only a database holds (fits, correlations, curation), by table."""
    skipped: Mapping[str, str]
    """Reasons by name of the run directory."""
    lost: str | None
    """Why nothing could be carried over from the old database, if so."""
    kept: str | None
    """Where the old database is now."""


def rebuild(path: Path, out: str | Path) -> RebuildReport:
    """Makes the database anew from the run directories; what only the old one holds is carried over.

    The old database is kept beside the new one.

    Args:
        path: the database.
        out: folder or URL of the run directories.

    Raises:
        StoreError: neither a run directory nor a database is there, or the database can't be written.
    """
    if is_lake(path):
        raise StoreError(
            f"{path}: make a lake anew under another name: `astraios ingest`, and `astraios import` of an export"
        )
    path = path.resolve()
    source = Source(out)
    found, refused = source.manifests()
    if not found and not path.exists():
        raise StoreError(f"nothing to rebuild {path} from: no run directory in {out}; name their folder with --out")
    lost = _unreadable(path) if path.exists() else None
    kept = path.with_name(path.name + ".before-rebuild") if path.exists() else None
    beside = (path, "old") if kept and not lost else None
    with reading_ahead(source, found) as batches, writing(path, anew=True, beside=beside) as connection:
        if kept:
            keep(path, kept)
        n_runs, bad = add_runs(connection, batches)
        n_carried, carried = _carry_over(connection) if beside else (0, {})
    return RebuildReport(n_runs, n_carried, carried, {**refused, **bad}, lost, str(kept) if kept else None)


def _unreadable(path: Path) -> str | None:
    """Why a database can't be read to its last row, or None; one of an older schema is brought up to date.

    Raises:
        StoreError: it is locked, not ours or newer; a rebuild would not be right.
    """
    import duckdb

    try:
        connection = attach(path, read_only=True)
    except StoreError as error:
        if "held by another process" in str(error):
            raise
        return str(error)
    try:
        refuse_changed(connection, path)
        refuse_foreign(connection, path)
        for table in _tables(connection):
            connection.execute(f"select count(columns(*)) from {quoted(table)}").fetchall()
    except duckdb.Error as error:
        return str(error).splitlines()[0]
    finally:
        connection.close()
    with reading(path):
        return None


def _carry_over(connection: DuckDBPyConnection) -> tuple[int, dict[str, int]]:
    """What only the database `old` beside this one has; how many runs, and other rows by table."""
    connection.execute(
        "create or replace temp table missing as select run_id from old.run anti join run using (run_id)"
    )
    n_carried = connection.execute("select count(*) from missing").fetchall()[0][0]
    for table in KEYS:
        where = "where run_id in (from missing)" if table == "run" else ""
        merge(connection, table, connection.sql(f"from old.{table} {where}").to_arrow_table())
    offset = next_load_key(connection)
    for table in RUN_TABLES:
        _copy(connection, table, "where run_id in (from missing)", offset)
    connection.execute("delete from composite")
    _copy(connection, "composite")
    carried = {table: _copy(connection, table) for table in OWN_TABLES if table != "composite"}
    connection.execute("commit")
    connection.execute("detach old")
    connection.execute("begin")
    return n_carried, {table: n for table, n in carried.items() if n}


def _copy(connection: DuckDBPyConnection, table: str, where: str = "", offset: int = 0) -> int:
    names = columns_of(connection, table)
    columns = ", ".join(map(quoted, names))
    values = ", ".join(f"{quoted(name)} + {offset}" if name == LOAD_KEY else quoted(name) for name in names)
    rows = connection.execute(f"insert into {table} ({columns}) select {values} from old.{table} {where}").fetchall()
    return int(rows[0][0])


def differences(a: Path, b: Path) -> dict[str, int]:
    """Rows that one database has and the other has not (or not as often), by table; empty when they say the same.

    The order of rows does not count, nor when migrations were applied.
    """
    with reading(a) as connection:
        tables = [table for table in _tables(connection) if table != "schema_migration"]
    connection = attach(a, read_only=True, beside=None if is_lake(b) else (b, "other"))
    try:
        if is_lake(b):
            attach_lake(connection, b, "other", read_only=True)
        found = {}
        for table in tables:
            names = [name for name in columns_of(connection, table) if name != LOAD_KEY]
            columns = ", ".join(f"{quoted(name)}::varchar as {quoted(name)}" for name in names)
            mine, theirs = f"select {columns} from {quoted(table)}", f"select {columns} from other.{quoted(table)}"
            rows = connection.execute(
                f"select count(*) from (({mine} except all {theirs}) union all ({theirs} except all {mine}))"
            ).fetchall()
            found[table] = int(rows[0][0])
    finally:
        connection.close()
    return {table: n for table, n in found.items() if n}


def _tables(connection: DuckDBPyConnection) -> list[str]:
    rows = connection.execute(f"select table_name from duckdb_tables() where {MAIN} order by table_name").fetchall()
    return [row[0] for row in rows]
