"""Migrations, views, macros and keys: the SQL files of db/, and which of them a database has had."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.errors import StoreError
from astraios.records import TABLES
from astraios.store.messages import one_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@cache
def sql_root() -> Traversable:
    packaged = resources.files("astraios") / "_db"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "db"


def sql_files(folder: str) -> dict[str, str]:
    """Text of the SQL files of a folder of db/, by name without ending, in order of name."""
    files = [f for f in (sql_root() / folder).iterdir() if f.name.endswith(".sql")]
    return {f.name.removesuffix(".sql"): f.read_text(encoding="utf-8") for f in sorted(files, key=lambda f: f.name)}


MAIN = "database_name = current_database() and schema_name = 'main'"
"""Where our tables are; what lies in a schema of somebody's own is theirs, whatever its name."""


def migrations_done(connection: DuckDBPyConnection) -> bool:
    rows = connection.execute(
        "select count(*) from information_schema.tables "
        "where table_catalog = current_database() and table_schema = 'main' "
        "and table_name = 'schema_migration' and table_type = 'BASE TABLE'"
    ).fetchall()
    return bool(rows[0][0])


def refuse_newer(connection: DuckDBPyConnection, path: Path) -> set[str]:
    """The migrations that a database has had.

    Raises:
        StoreError: one of them is unknown here.
    """
    done = {row[0] for row in connection.execute("select name from schema_migration").fetchall()}
    unknown = done - set(sql_files("migrations"))
    if unknown:
        raise StoreError(f"{path} was written by a newer astraios (schema {max(unknown)}): update astraios")
    return done


def refuse_changed(connection: DuckDBPyConnection, path: Path) -> None:
    """Raises a StoreError where a table of ours is not as our migrations have made it; reads the catalogue alone.

    A stranger's file may have a view in a table's place, or columns whose names are made to be run.
    """
    rows = connection.execute(
        f"select table_name, column_name, data_type from duckdb_columns() where {MAIN} "
        f"and table_name in (select table_name from duckdb_tables() where {MAIN})"
    ).fetchall()
    held: dict[str, set[tuple[str, str]]] = {}
    for table, column, kind in rows:
        held.setdefault(table, set()).add((column, kind))
    if "schema_migration" not in held:
        views = connection.execute("select view_name from duckdb_views() where " + MAIN)
        if ("schema_migration",) in views.fetchall():
            raise StoreError(f"{path}: schema_migration is a view, not a table: this is no database of astraios")
        return
    if not {("name", "VARCHAR"), ("hash", "VARCHAR")} <= held["schema_migration"]:
        raise StoreError(f"{path}: its table schema_migration was changed: this is no database of astraios")
    done = refuse_newer(connection, path)
    if done == set(sql_files("migrations")) and _as_recorded(held):
        return
    for table, columns in shape(tuple(sorted(done))).items():
        if held.get(table) != columns:
            odd = sorted(name for name, _ in columns ^ held.get(table, set()))
            raise StoreError(
                f"{path}: its table {table} was changed ({', '.join(map(repr, odd[:3]))}): restore a copy of it, "
                "or make it anew with `astraios db rebuild` under another name"
            )


def _as_recorded(held: dict[str, set[tuple[str, str]]]) -> bool:
    """Whether all tables have the columns that records say: asking those takes no time, migrating a base does."""
    kinds = {
        name: {(column, facts.sql.upper()) for column, facts in table.columns.items()} for name, table in TABLES.items()
    }
    return all(
        {(name, kind) for name, kind in held.get(table, ()) if name != "load_key"} == columns - {("load_key", "BIGINT")}
        for table, columns in kinds.items()
    )


@cache
def shape(migrations: tuple[str, ...]) -> dict[str, frozenset[tuple[str, str]]]:
    """Columns, as (name, type), of every table that some migrations make."""
    import duckdb

    with duckdb.connect() as connection:
        for name in migrations:
            connection.execute(sql_files("migrations")[name])
        rows = connection.execute("select table_name, column_name, data_type from duckdb_columns() where not internal")
        found: dict[str, set[tuple[str, str]]] = {}
        for table, column, kind in rows.fetchall():
            found.setdefault(table, set()).add((column, kind))
    return {table: frozenset(columns) for table, columns in found.items()}


def refuse_foreign(connection: DuckDBPyConnection, path: Path) -> None:
    """Raises a StoreError unless the database is ours (or empty) and not of a newer astraios."""
    if migrations_done(connection):
        refuse_newer(connection, path)
        return
    rows = connection.execute("select count(*) from information_schema.tables where table_catalog = current_database()")
    if rows.fetchall()[0][0]:
        raise StoreError(f"{path} holds tables that are not astraios's: name another database with --db")


def outdated(connection: DuckDBPyConnection, path: Path) -> bool:
    """Whether migrations or views are pending."""
    done = refuse_newer(connection, path)
    return done != set(sql_files("migrations")) or _recorded_views(connection) != _views_hash()


def migrate(connection: DuckDBPyConnection, path: Path, *, lake: bool = False) -> list[str]:
    """Brings the schema up to date; each migration and its record in one transaction.

    A lake has no indexes, keeps no comments on columns of views, and its macros come with each connection.

    Returns:
        The migrations that were made.
    """
    with one_line(path):
        if not migrations_done(connection):
            connection.execute(
                "create table schema_migration (name varchar not null, hash varchar not null, applied_at timestamp)"
            )
            connection.execute("comment on table schema_migration is 'Migrations that this database has had.'")
        done = refuse_newer(connection, path)
        pending = {name: sql for name, sql in sql_files("migrations").items() if name not in done}
        for name, sql in pending.items():
            connection.execute("begin")
            connection.execute(sql)
            connection.execute(
                "insert into schema_migration values (?, ?, now()::timestamp)",
                [name, hashlib.sha256(sql.encode()).hexdigest()],
            )
            connection.execute("commit")
        if pending or _views_hash() != _recorded_views(connection):
            connection.execute("begin")
            for sql in _views_in_order():
                connection.execute(re.sub(r"(?m)^comment on column .*$", "", sql) if lake else sql)
            for name in () if lake else ("macros", "keys"):
                connection.execute(_text(name))
            connection.execute(f"comment on table schema_migration is 'Migrations had; views {_views_hash()}'")
            connection.execute("commit")
    return list(pending)


def macros_of_connection() -> str:
    """The macros as statements that leave no trace in a database."""
    return _text("macros").replace("create or replace macro", "create or replace temp macro")


def work_out_once(connection: DuckDBPyConnection, catalog: str) -> None:
    """Makes the views anew in a connection's own memory, over the tables of a catalog.

    What nearly every view reads is a table there: DuckDB works out a view each time that it is named, and most of a
    question's time went into the same three.
    """
    tables = "select table_name from duckdb_tables() where database_name = ? and schema_name = 'main' and not temporary"
    for (name,) in connection.execute(tables, [catalog]).fetchall():
        connection.execute(f'create view "{name}" as from {catalog}.main."{name}"')
    connection.execute(_text("macros"))
    for sql in _views_in_order():
        definition = sql.partition(";\ncomment on ")[0]
        connection.execute(definition)
        name = definition.split()[4]
        if name in ("latest_attempt", "run_study", "run_series"):
            connection.execute(f"create table held as from {name}; drop view {name}; alter table held rename to {name}")


def _views_in_order() -> list[str]:
    """View definitions, each after those that it reads."""
    views = sql_files("views")
    placed: list[str] = []

    def place(name: str) -> None:
        if name in placed:
            return
        for other in views:
            if other != name and re.search(rf"\b(from|join)\s+{other}\b", views[name]):
                place(other)
        placed.append(name)

    for name in views:
        place(name)
    return [views[name] for name in placed]


@cache
def _views_hash() -> str:
    return hashlib.sha256("".join([*_views_in_order(), _text("macros")]).encode()).hexdigest()[:16]


def _text(name: str) -> str:
    return (sql_root() / f"{name}.sql").read_text(encoding="utf-8")


def _recorded_views(connection: DuckDBPyConnection) -> str:
    rows = connection.execute(
        f"select comment from duckdb_tables() where {MAIN} and table_name = 'schema_migration'"
    ).fetchall()
    return str(rows[0][0] or "").rsplit(" ", 1)[-1] if rows else ""
