"""The only module that opens the database: connect, migrate, ingest, query, write fits.

A database is one DuckDB file: an index of run directories that can be made anew from them at any time. A writer holds
it for the moment of one transaction; readers open it read-only. Who finds it locked waits a little, then says so.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.spool import read_manifest
from astraios.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars as pl
    from duckdb import DuckDBPyConnection

DEFAULT_PATH = "astraios.duckdb"
LOCK_PATIENCE_S = 30.0
BATCH = 500
"""Run directories in one transaction."""
STORAGE_VERSION = "v1.2.0"
"""Of the file format: the oldest that every supported DuckDB reads and writes."""

LONG_TABLES = {"losses.parquet": "loss_point", "scores.parquet": "score", "samples.parquet": "sample_score"}
KEYS = {
    "base_model": "model_id",
    "tuning_method": "method_id",
    "dataset": "dataset_id",
    "environment": "environment_id",
    "task": "task_id",
    "sweep": "sweep_id",
    "run": "run_id",
}
"""Tables that describe something once, with their keys."""
FIT_TABLES = ("fit", "fit_parameter", "fit_point", "fit_draw", "projection", "backtest")


@dataclass(frozen=True)
class IngestReport:
    """What an ingest did."""

    n_new: int
    n_known: int
    """Run directories whose content the database held already."""
    skipped: Mapping[str, str]
    """Reasons by name of the run directory."""


def database_path(given: str | Path | None = None) -> Path:
    """`given`, else $ASTRAIOS_DB, else astraios.duckdb in the current folder."""
    return Path(given or os.environ.get("ASTRAIOS_DB") or DEFAULT_PATH)


@cache
def _sql_root() -> Traversable:
    packaged = resources.files("astraios") / "_db"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parent.parent / "db"


def sql_files(folder: str) -> dict[str, str]:
    """Text of the SQL files of a folder of db/, by name without ending, in order of name."""
    files = [f for f in (_sql_root() / folder).iterdir() if f.name.endswith(".sql")]
    return {f.name.removesuffix(".sql"): f.read_text(encoding="utf-8") for f in sorted(files, key=lambda f: f.name)}


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
        if not _migrations_done(connection):
            raise StoreError(f"{file} is not an astraios database: name another one with --db")
        if _outdated(connection, file):
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
        _migrate(connection, path)
        with _one_line(path):
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
        raise StoreError(f"SQL: {_first_line(error)}") from None


def ingest(path: Path, out: Path) -> IngestReport:
    """Takes the run directories under `out` into the database; what it holds already is left alone.

    Raises:
        StoreError: the database can't be written or stays locked.
    """
    found = sorted(p.parent for p in out.glob("*/manifest.json")) if out.is_dir() else []
    with writing(path) as connection:
        known = {row[0] for row in connection.execute("select distinct content_hash from attempt").fetchall()}
    n_new, n_known, skipped = 0, 0, {}
    batch: list[_RunFiles] = []
    for folder in found:
        try:
            run = _RunFiles.read(folder)
        except StoreError as error:
            skipped[folder.name] = str(error)
            continue
        if run.content_hash in known:
            n_known += 1
            continue
        batch.append(run)
        if len(batch) == BATCH:
            _ingest_batch(path, batch)
            n_new, batch = n_new + len(batch), []
    if batch or not found:
        _ingest_batch(path, batch)
    return IngestReport(n_new + len(batch), n_known, skipped)


def import_frames(path: Path, frames: Mapping[str, pl.DataFrame]) -> dict[str, int]:
    """Takes rows of another tool or study into the database, all or none; importing the same twice changes nothing.

    What hangs on a run (attempts, losses, scores) replaces what the database had of that run; descriptions that are
    there already stay. Final losses are worked out here.

    Args:
        path: the database.
        frames: rows by table.

    Returns:
        Rows by table.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        for table, key in KEYS.items():
            if table in frames:
                _merge(connection, table, key, frames[table].to_dicts())
        if "run" in frames:
            connection.register("arriving", frames["run"].select("run_id").unique().to_arrow())
            for table in ("attempt", "evaluation", "loss_summary", *LONG_TABLES.values()):
                connection.execute(f"delete from {table} where run_id in (select run_id from arriving)")
            for table in ("attempt", "evaluation", *LONG_TABLES.values()):
                if table in frames:
                    _insert(connection, table, frames[table].to_arrow())
            connection.execute(_SUMMARY)
            connection.unregister("arriving")
        if "correlation" in frames:
            connection.register("arriving", frames["correlation"].select("source").unique().to_arrow())
            connection.execute("delete from correlation where source in (select source from arriving)")
            connection.unregister("arriving")
            _insert(connection, "correlation", frames["correlation"].to_arrow())
    return {table: len(frame) for table, frame in frames.items()}


def add_evaluation(
    path: Path, described: Mapping[str, Sequence[Mapping[str, Any]]], run: Mapping[str, Any], rows: Mapping[str, Any]
) -> None:
    """Records one task's scores of one run, in place of those that it had of that task; its other tasks stay.

    Args:
        path: the database.
        described: rows of base_model, tuning_method and task.
        run: row of the run; one that is there already stays as it is.
        rows: "evaluation": a row; "score" and "sample_score": lists of rows.
    """
    with writing(path) as connection:
        for table in ("base_model", "tuning_method", "task"):
            _merge(connection, table, KEYS[table], described[table])
        _merge(connection, "run", "run_id", [run])
        run_id, evaluation = run["run_id"], rows["evaluation"]
        attempts = connection.execute("select count(*) from attempt where run_id = ?", [run_id]).fetchall()
        if not attempts[0][0]:
            _insert(
                connection,
                "attempt",
                _arrow(connection, "attempt", [{"run_id": run_id, "attempt": 1, "state": "done"}]),
            )
        mark = {"run_id": run_id, "attempt": 1, "task_id": evaluation["task_id"], "n_shot": evaluation["n_shot"]}
        for table, content in (
            ("evaluation", [evaluation]),
            ("score", rows["score"]),
            ("sample_score", rows["sample_score"]),
        ):
            connection.execute(
                f"delete from {table} where run_id = ? and task_id = ? and n_shot = ?",
                [run_id, evaluation["task_id"], evaluation["n_shot"]],
            )
            _insert(connection, table, _arrow(connection, table, [{**row, **mark} for row in content]))


def write_fits(path: Path, frames: Mapping[str, pl.DataFrame]) -> None:
    """Stores an analysis; a fit with the same id is replaced.

    Args:
        path: the database.
        frames: rows by table, for the tables in FIT_TABLES.
    """
    with writing(path) as connection:
        connection.register("fresh", frames["fit"].select("fit_id").unique().to_arrow())
        for table in FIT_TABLES:
            connection.execute(f"delete from {table} where fit_id in (select fit_id from fresh)")
            if table in frames and len(frames[table]):
                _insert(connection, table, frames[table].to_arrow())
        connection.unregister("fresh")


def failed_checks(path: Path) -> dict[str, int]:
    """Number of offending rows by check; empty when the database is sound."""
    with reading(path) as connection:
        counts = {
            name: len(run_query(connection, sql.rstrip().rstrip(";"))) for name, sql in sql_files("checks").items()
        }
    return {name: count for name, count in counts.items() if count}


@dataclass(frozen=True)
class _RunFiles:
    """A run directory that has been read and found whole."""

    folder: Path
    manifest: dict[str, Any]
    content_hash: str

    @classmethod
    def read(cls, folder: Path) -> _RunFiles:
        manifest = read_manifest(folder)
        if manifest is None:
            raise StoreError("no manifest")
        for name, facts in manifest["files"].items():
            try:
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise StoreError(f"{name}: can't be read ({error.strerror}); have the run done again") from None
            if digest != facts["sha256"]:
                raise StoreError(f"{name} is not what the manifest says; delete manifest.json to have it written again")
        content_hash = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:32]
        return cls(folder, manifest, content_hash)

    @property
    def run_id(self) -> str:
        return str(self.manifest["rows"]["run"]["run_id"])


def _ingest_batch(path: Path, batch: Sequence[_RunFiles]) -> None:
    if not batch:
        with writing(path):
            return
    with writing(path) as connection:
        rows = [run.manifest["rows"] for run in batch]
        for table in ("base_model", "tuning_method", "dataset", "environment"):
            _merge(connection, table, KEYS[table], [r[table] for r in rows if table in r])
        _merge(connection, "task", "task_id", [task for r in rows for task in r.get("tasks", ())])
        _merge(connection, "sweep", "sweep_id", [_sweep_row(r) for r in rows])
        _merge(connection, "run", "run_id", [_run_row(r) for r in rows])
        _replace_attempts(connection, batch)


def _sweep_row(rows: dict[str, Any]) -> dict[str, Any]:
    settings = json.loads(rows["sweep_json"])
    sweep_id = f"{settings['name']}@{hashlib.sha256(rows['sweep_json'].encode()).hexdigest()[:12]}"
    return {
        "sweep_id": sweep_id,
        "name": settings["name"],
        "settings": settings,
        "created_at": rows["attempts"][0]["started_at"],
    }


def _run_row(rows: dict[str, Any]) -> dict[str, Any]:
    sweep = _sweep_row(rows)
    return {**rows["run"], "sweep_id": sweep["sweep_id"], "created_at": sweep["created_at"]}


def _replace_attempts(connection: DuckDBPyConnection, batch: Sequence[_RunFiles]) -> None:
    """All that hangs on the runs' attempts, replaced whole."""
    import pyarrow as pa
    from pyarrow import parquet

    connection.register("arriving", pa.table({"run_id": [run.run_id for run in batch]}))
    for table in ("attempt", "evaluation", "loss_summary", *LONG_TABLES.values()):
        connection.execute(f"delete from {table} where run_id in (select run_id from arriving)")
    connection.unregister("arriving")
    attempts, evaluations = [], []
    long_rows: dict[str, list[pa.Table]] = {table: [] for table in LONG_TABLES.values()}
    for run in batch:
        finished = [a for a in run.manifest["rows"]["attempts"] if a["state"] != "started"]
        common = {"run_id": run.run_id, "directory": run.folder.name, "content_hash": run.content_hash}
        attempts += [{**attempt, **common} for attempt in finished]
        for name, table in LONG_TABLES.items():
            if name in run.manifest["files"]:
                rows = parquet.read_table(run.folder / name)
                long_rows[table].append(rows.append_column("run_id", pa.array([run.run_id] * len(rows), pa.string())))
        last = finished[-1]["attempt"] if finished else 0
        evaluations += [
            {"run_id": run.run_id, "attempt": last, **row} for row in run.manifest["rows"].get("evaluations", ())
        ]
    _insert(connection, "attempt", _arrow(connection, "attempt", attempts))
    _insert(connection, "evaluation", _arrow(connection, "evaluation", evaluations))
    for table, pieces in long_rows.items():
        if pieces:
            _insert(connection, table, pa.concat_tables(pieces))
    connection.register("arriving", pa.table({"run_id": [run.run_id for run in batch]}))
    connection.execute(_SUMMARY)
    connection.unregister("arriving")


_SUMMARY = """
insert into loss_summary by name
select
    run_id, attempt, split, count(*) as n_points,
    max(step) as last_step, arg_max(loss_nats, step) as last_loss, min(loss_nats) as min_loss,
    list_avg(array_agg(loss_nats order by step desc)[1:5]) as mean_last5_loss
from loss_point
where run_id in (select run_id from arriving)
group by run_id, attempt, split
"""


def _columns(connection: DuckDBPyConnection, table: str) -> list[str]:
    rows = connection.execute(
        "select column_name from information_schema.columns where table_name = ? order by ordinal_position", [table]
    ).fetchall()
    return [row[0] for row in rows]


def _arrow(connection: DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as an Arrow table with the columns that the database's table has; nested values become JSON text."""
    import pyarrow as pa

    def plain(value: Any) -> Any:
        return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value

    names = [name for name in _columns(connection, table) if any(name in row for row in rows)]
    return pa.table({name: pa.array([plain(row.get(name)) for row in rows]) for name in names})


def _insert(connection: DuckDBPyConnection, table: str, rows: Any) -> None:
    if len(rows) == 0:
        return
    names = [name for name in _columns(connection, table) if name in rows.column_names]
    connection.register("incoming", rows)
    columns = ", ".join(names)
    connection.execute(f"insert into {table} ({columns}) select {columns} from incoming")
    connection.unregister("incoming")


def _merge(connection: DuckDBPyConnection, table: str, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows that the table lacks are added; those it has are left as they are, the first description counts."""
    unique = {row[key]: row for row in rows}
    if not unique:
        return
    connection.register("described", _arrow(connection, table, list(unique.values())))
    names = ", ".join(n for n in _columns(connection, table) if any(n in row for row in unique.values()))
    values = ", ".join(f"described.{name}" for name in names.split(", "))
    connection.execute(
        f"merge into {table} using described on {table}.{key} = described.{key} "
        f"when not matched then insert ({names}) values ({values})"
    )
    connection.unregister("described")


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
                raise StoreError(f"{path}: can't be opened ({_first_line(error)})") from None
            if time.monotonic() > until:
                raise StoreError(
                    f"{path} is held by another process ({_holder(text)}): wait for it or stop it"
                ) from None
        except duckdb.Error as error:
            raise StoreError(f"{path}: not a DuckDB database that can be read ({_first_line(error)})") from None
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


def _migrations_done(connection: DuckDBPyConnection) -> bool:
    rows = connection.execute(
        "select count(*) from information_schema.tables where table_name = 'schema_migration'"
    ).fetchall()
    return bool(rows[0][0])


def _refuse_newer(connection: DuckDBPyConnection, path: Path) -> set[str]:
    done = {row[0] for row in connection.execute("select name from schema_migration").fetchall()}
    unknown = done - set(sql_files("migrations"))
    if unknown:
        raise StoreError(f"{path} was written by a newer astraios (schema {max(unknown)}): update astraios")
    return done


def _outdated(connection: DuckDBPyConnection, path: Path) -> bool:
    """Whether migrations or views are pending."""
    done = _refuse_newer(connection, path)
    return done != set(sql_files("migrations")) or _recorded_views(connection) != _views_hash()


def _migrate(connection: DuckDBPyConnection, path: Path) -> None:
    """Brings the schema up to date; each migration and its record in one transaction."""
    with _one_line(path):
        if not _migrations_done(connection):
            tables = connection.execute("select count(*) from information_schema.tables").fetchall()[0][0]
            if tables:
                raise StoreError(f"{path} holds tables that are not astraios's: name another database with --db")
            connection.execute(
                "create table schema_migration (name varchar not null, hash varchar not null, applied_at timestamp)"
            )
            connection.execute("comment on table schema_migration is 'Migrations that this database has had.'")
        done = _refuse_newer(connection, path)
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
            for sql in [*_views_in_order(), (_sql_root() / "keys.sql").read_text(encoding="utf-8")]:
                connection.execute(sql)
            connection.execute(f"comment on table schema_migration is 'Migrations had; views {_views_hash()}'")
            connection.execute("commit")


def _views_in_order() -> list[str]:
    """View definitions, each after those that it reads."""
    views = sql_files("views")
    placed: list[str] = []

    def place(name: str) -> None:
        if name in placed:
            return
        for other in views:
            if other != name and f" {other}" in views[name].replace("\n", " "):
                place(other)
        placed.append(name)

    for name in views:
        place(name)
    return [views[name] for name in placed]


@cache
def _views_hash() -> str:
    return hashlib.sha256("".join(_views_in_order()).encode()).hexdigest()[:16]


def _recorded_views(connection: DuckDBPyConnection) -> str:
    rows = connection.execute("select comment from duckdb_tables() where table_name = 'schema_migration'").fetchall()
    return str(rows[0][0] or "").rsplit(" ", 1)[-1] if rows else ""


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        text = _first_line(error)
        if "no space" in text.lower() or "disk" in text.lower():
            text = "the disk is full; free some space and run the same command again"
        raise StoreError(f"{path}: {text}") from None


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].startswith("LINE"):
        return f"{lines[0]} ({lines[1]})"
    return lines[0] if lines else type(error).__name__
