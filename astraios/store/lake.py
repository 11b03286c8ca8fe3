"""The same schema on DuckLake: tables as Parquet in a shared folder or bucket, the catalogue in Postgres.

A database is then named `ducklake:postgres:KEY=VALUE ...`, libpq's own words for a connection, with one word more:
`data_path=`, where the Parquet files lie (needed once, when the lake is made). Writers on any machine take turns by an
advisory lock of Postgres, which is given back when its holder dies; each commit is one transaction of Postgres, so a
writer that is killed leaves nothing but files that no catalogue names.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.errors import MissingExtraError, StoreError
from astraios.store.lock import Patience, signature
from astraios.store.messages import first_line

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

PREFIX = "ducklake:"
EXTENSIONS = ("postgres_scanner", "ducklake")
LOCK_NAME = "astraios writer"


def is_lake(path: Path) -> bool:
    """Whether a database's name means a lake and not a file."""
    return str(path).startswith(PREFIX)


def there(path: Path) -> bool:
    """Whether a database is there, as far as a look at the file system tells; a lake may be."""
    return is_lake(path) or path.exists()


def attach_lake(connection: DuckDBPyConnection, path: Path, name: str, *, read_only: bool) -> None:
    """Attaches a lake under a name.

    Raises:
        MissingExtraError: the extensions are not installed.
        StoreError: Postgres or the lake's data can't be reached.
    """
    import duckdb

    words, data = _words(path)
    for extension in EXTENSIONS:
        connection.execute(f"load '{_extension(extension)}'")
    options = ["read_only"] if read_only else []
    if data and not read_only:
        options.append(f"data_path '{_quoted(data)}'")
    clause = f" ({', '.join(options)})" if options else ""
    target = _quoted(f"ducklake:postgres:{_conninfo(words)}")
    try:
        connection.execute(f"attach '{target}' as {name}{clause}")
    except duckdb.Error as error:
        text = first_line(error)
        if "DATA_PATH" in text.upper():
            text += "; a new lake needs data_path=FOLDER in its name"
        raise StoreError(f"{path}: {text}") from None


@contextmanager
def lake_lock(path: Path) -> Iterator[None]:
    """The writer's lock of a lake, held for the length of a block.

    Raises:
        MissingExtraError: psycopg is not installed.
        StoreError: Postgres can't be reached, or another writer keeps the lock.
    """
    try:
        import psycopg
    except ImportError:
        raise MissingExtraError("psycopg", "ducklake", "a database on Postgres") from None
    words, _ = _words(path)
    try:
        with psycopg.connect(_conninfo(words), application_name=signature()[:63], autocommit=True) as server:
            patience = Patience(path)
            while not server.execute("select pg_try_advisory_lock(hashtext(%s))", [LOCK_NAME]).fetchall()[0][0]:
                patience.wait(_holder(server))
            yield
    except psycopg.Error as error:
        raise StoreError(f"{path}: Postgres: {' '.join(str(error).split())}") from None


def forbid_all_but_reading(connection: DuckDBPyConnection, path: Path, sql: str) -> None:
    """Raises a StoreError unless every statement only reads: files of the lake can't be opened for reading alone."""
    import duckdb

    try:
        kinds = {statement.type for statement in connection.extract_statements(sql)}
    except duckdb.Error as error:
        raise StoreError(f"SQL: {first_line(error)}") from None
    allowed = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN}
    if kinds - allowed:
        raise StoreError(f"SQL: {path} is read-only here: only queries are answered; `--allow-write` lifts that")


def data_folder(connection: DuckDBPyConnection, name: str) -> str:
    """Where the lake's files lie."""
    rows = connection.execute(
        f"select value from ducklake_options('{name}') where option_name = 'data_path'"
    ).fetchall()
    return str(rows[0][0])


def _words(path: Path) -> tuple[dict[str, str], str | None]:
    text = str(path).removeprefix(PREFIX)
    if not text.startswith("postgres:"):
        raise StoreError(f"{path}: write ducklake:postgres:dbname=NAME host=HOST data_path=FOLDER")
    try:
        words = dict(part.split("=", 1) for part in shlex.split(text.removeprefix("postgres:")))
    except ValueError:
        raise StoreError(f"{path}: after ducklake:postgres: come KEY=VALUE words, as libpq has them") from None
    if "password" in words:
        raise StoreError("keep the password of Postgres in ~/.pgpass or a service file: a database's name is printed")
    data = words.pop("data_path", None) or os.environ.get("ASTRAIOS_LAKE_DATA")
    # A path has lost one slash of a URL on its way here.
    return words, re.sub(r"^(\w+):/(?!/)", r"\1://", data) if data else None


def _conninfo(words: dict[str, str]) -> str:
    return " ".join(f"{k}={v}" if re.fullmatch(r"[\w./:-]+", v) else f"{k}='{v}'" for k, v in words.items())


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _extension(name: str) -> Path:
    package = f"duckdb_extension_{name}"
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for file in Path(folder).rglob("*.duckdb_extension"):
            return file
    raise MissingExtraError(package.replace("_", "-"), "ducklake", "a database on DuckLake")


def _holder(server: object) -> str:
    rows = server.execute(  # type: ignore[attr-defined]
        "select a.application_name from pg_locks l join pg_stat_activity a using (pid) "
        "where l.locktype = 'advisory' and l.granted and a.datname = current_database()"
    ).fetchall()
    return str(rows[0][0]) if rows else "somebody"
