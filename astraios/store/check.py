"""Looking for what should not be there: rows that no check allows, damage, and run directories that tell otherwise."""

from __future__ import annotations

from pathlib import Path

from astraios.errors import StoreError
from astraios.records import TABLES
from astraios.store.connect import reading, run_query
from astraios.store.ingest import known_hashes
from astraios.store.rows import quoted
from astraios.store.schema import MAIN, sql_files
from astraios.store.source import Growing, RunFiles, Source


def failed_checks(path: Path) -> dict[str, int]:
    """Number of offending rows by check; empty when the database is sound.

    Raises:
        StoreError: a part of the file can't be read.
    """
    with reading(path) as connection:
        counts = {
            name: len(run_query(connection, sql.rstrip().rstrip(";"))) for name, sql in sql_files("checks").items()
        }
        held = run_query(connection, f"select table_name from duckdb_tables() where {MAIN}")["table_name"]
        for table in (name for name in held if name in TABLES or name == "schema_migration"):
            run_query(
                connection, f"select count(columns(*)) from {quoted(table)}"
            )  # reads every block, and its checksum
    return {name: count for name, count in counts.items() if count}


def own_objects(path: Path) -> list[str]:
    """Tables and views that are not astraios's own: they are left alone, and no command of ours runs them.

    Raises:
        StoreError: no such database.
    """
    ours = {*TABLES, *sql_files("views"), "schema_migration"}
    with reading(path) as connection:
        rows = run_query(
            connection,
            "select schema_name, table_name as name from duckdb_tables() where database_name = current_database() "
            "union all select schema_name, view_name from duckdb_views() where database_name = current_database() "
            "and not internal order by name",
        )
    return [
        name if schema == "main" else f"{schema}.{name}"
        for schema, name in rows.iter_rows()
        if schema != "main" or name not in ours
    ]


def check_directories(path: Path, out: str | Path) -> dict[str, str]:
    """What is wrong between a database and its run directories, by name of the directory; empty when nothing is.

    Every file is read and compared with its manifest, and every finished directory with what the database holds.
    """
    source = Source(out)
    found, wrong = source.manifests()
    with reading(path) as connection:
        known = known_hashes(connection)
        rows = run_query(
            connection,
            "select run_id, count(*) as n from loss_point join (select run_id, max(attempt) as attempt from attempt "
            "where state = 'done' group by run_id) using (run_id, attempt) group by run_id",
        )
    points = dict(rows.iter_rows())
    for one in found:
        if isinstance(one, Growing):
            continue  # There may be more of it by now than any ingest has seen.
        try:
            run = RunFiles.read(source, one, rows=False)
        except StoreError as error:
            wrong[one.name] = str(error)
            continue
        told = run.manifest["files"].get("losses.parquet", {"rows": 0})["rows"]
        if one.content_hash not in known:
            wrong[one.name] = "not in the database: run `astraios ingest`"
        elif told != points.get(run.run_id, 0):
            wrong[one.name] = f"{told} losses there, {points.get(run.run_id, 0)} in the database: `astraios db rebuild`"
    return wrong
