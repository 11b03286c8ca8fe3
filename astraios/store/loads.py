"""Imports of runs from elsewhere: recognised by what they measured, added to what is there, and undone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError
from astraios.records import ImportLoad
from astraios.store.connect import reading, run_query, writing
from astraios.store.lake import there
from astraios.store.results import join_evaluations
from astraios.store.rows import KEYS, RUN_TABLES, arrow_table, columns_of, insert, merge, next_load_key

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection

_ALIKE = """
with last as (
    select key, split, max(step) as step, arg_max(loss_nats, step)::float as loss from arriving group by key, split
), found as (
    select last.key, p.run_id from last join loss_point p
        on p.split = last.split and p.step = last.step and p.loss_nats::float = last.loss
    union
    select a.key, s.run_id from arriving a join loss_summary s
        on s.split = a.split and s.last_step = a.step and s.last_loss::float = a.loss_nats::float
), shared as (
    select f.key, f.run_id, a.split, count(*) as common,
        count(*) filter (p.loss_nats::float = a.loss_nats::float) as same,
        count(distinct a.loss_nats) filter (isfinite(a.loss_nats)) as finite
    from found f join arriving a on a.key = f.key
    join loss_point p on p.run_id = f.run_id and p.split = a.split and p.step = a.step
    group by all
), arrived as (select key, split, count(*) as n from arriving group by all),
stored as (select run_id, split, count(*) as n from loss_point where run_id in (select run_id from found) group by all)
select key, run_id, sum(common)::bigint as common, sum(finite)::bigint as finite,
    sum(arrived.n)::bigint as n_arrived, sum(stored.n)::bigint as n_stored
from shared join arrived using (key, split) join stored using (run_id, split)
group by key, run_id
having bool_and(same = common and common = least(arrived.n, stored.n))
"""
"""Pairs of an arriving and a stored run of which one log is the beginning of the other's, split by split.

Losses are compared in single precision, in which TensorBoard keeps them.
"""


def alike(path: Path, arriving: pl.DataFrame) -> list[dict[str, Any]]:
    """Stored runs whose losses are those of arriving runs, as far as both go.

    Args:
        path: the database; where there is none, nothing is alike.
        arriving: key, split, step, loss_nats.

    Returns:
        key, run_id, common (points), finite (different finite losses among them), n_arrived, n_stored.
    """
    if not there(path) or arriving.is_empty():
        return []
    with reading(path) as connection:
        connection.register("arriving", arriving.to_arrow())
        found = connection.sql(_ALIKE).pl().to_dicts()
        connection.unregister("arriving")
    return found


def stored_runs(path: Path) -> list[dict[str, Any]]:
    """All runs with their facts and settings; none where there is no database."""
    if not there(path):
        return []
    with reading(path) as connection:
        return run_query(connection, "from run order by run_id").to_dicts()


@dataclass(frozen=True)
class Load:
    """An import that changed something."""

    load_id: str
    """Its number, by which it can be undone."""
    runs: frozenset[str]
    """Runs that it made or changed."""
    described: Mapping[str, frozenset[str]]
    """Keys of what describes them that were new, by table."""


def add_results(path: Path, frames: Mapping[str, pl.DataFrame], form: str, source: str) -> Load | None:
    """Adds runs to the database: what a run has already and what does not arrive stays as it is.

    Of a split that arrives, of an attempt and of an evaluation the arriving rows count; nothing else is touched. All or
    none.

    Args:
        path: the database.
        frames: rows by table; run rows as they are to be.
        form: name of the format, for the record of the load.
        source: name of the source, likewise.

    Returns:
        The load; None where it changed nothing.

    Raises:
        StoreError: the database can't be written.
    """
    run_ids = frames["run"]["run_id"].to_list()
    with writing(path) as connection:
        before = _snapshot(connection, frames, run_ids)
        known = _known(connection, frames)
        for table in KEYS:
            if table in frames:
                merge(connection, table, frames[table].to_arrow(), arriving_counts=table == "run")
        if "attempt" in frames:
            _add_attempts(connection, frames["attempt"])
        if "loss_point" in frames:
            _add_losses(connection, frames["loss_point"])
        if "evaluation" in frames:
            join_evaluations(connection, frames)
        after = _snapshot(connection, frames, run_ids)
        if before == after:
            return None
        created = {table: sorted(keys - known[table]) for table, keys in _arriving_keys(frames).items()}
        load = ImportLoad(
            load_id=_next(connection), format=form, source=source,
            created={table: keys for table, keys in created.items() if keys}, replaced=before,
        )  # fmt: skip
        now = datetime.now(UTC).replace(tzinfo=None)
        insert(connection, "import_load", arrow_table([load], loaded_at=now))
    described = {table: frozenset(keys) for table, keys in created.items() if table != "run"}
    return Load(load.load_id, _changed(before, after), described)


def _changed(before: Mapping[str, list[Any]], after: Mapping[str, list[Any]]) -> frozenset[str]:
    """Runs of which any row is another one than before."""

    def by_run(rows: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        found: dict[str, list[Any]] = {}
        for table in ("run", *RUN_TABLES):
            for row in rows.get(table, []):
                found.setdefault(row["run_id"], []).append((table, row))
        return found

    then, now = by_run(before), by_run(after)
    return frozenset(key for key, rows in now.items() if then.get(key) != rows)


def _next(connection: DuckDBPyConnection) -> str:
    found = connection.execute("select coalesce(max(load_id::integer), 0) + 1 from import_load").fetchall()
    return str(found[0][0])


def _arriving_keys(frames: Mapping[str, pl.DataFrame]) -> dict[str, set[str]]:
    return {table: set(frames[table][key].to_list()) for table, key in KEYS.items() if table in frames}


def _known(connection: DuckDBPyConnection, frames: Mapping[str, pl.DataFrame]) -> dict[str, set[str]]:
    """Keys that arrive and are there already, by table."""
    known = {}
    for table, keys in _arriving_keys(frames).items():
        sql = f"select {KEYS[table]} from {table} where {KEYS[table]} in (select unnest(?))"
        known[table] = {row[0] for row in connection.execute(sql, [sorted(keys)]).fetchall()}
    return known


def _snapshot(
    connection: DuckDBPyConnection, frames: Mapping[str, pl.DataFrame], run_ids: Sequence[str]
) -> dict[str, list[dict[str, Any]]]:
    """Rows of the runs, and of what describes them, as they stand now; a table without such rows is left out."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table in RUN_TABLES:
        rows[table] = _rows(connection, f"from {table} where run_id in (select unnest(?)) order by all", run_ids)
    for table, keys in _arriving_keys(frames).items():
        sql = f"from {table} where {KEYS[table]} in (select unnest(?)) order by all"
        rows[table] = _rows(connection, sql, sorted(keys))
    return {table: content for table, content in rows.items() if content}


def _rows(connection: DuckDBPyConnection, sql: str, keys: Sequence[str]) -> list[dict[str, Any]]:
    """Rows as JSON has them."""
    cursor = connection.execute(f"select to_json(t)::varchar from ({sql}) t", [list(keys)])
    return [json.loads(row[0]) for row in cursor.fetchall()]


def _add_attempts(connection: DuckDBPyConnection, attempts: pl.DataFrame) -> None:
    """Attempts of new runs; of a run that was imported before, what arrives of its attempt counts."""
    connection.register("arriving", attempts.to_arrow())
    connection.execute("create or replace temp table coming as from attempt limit 0")
    connection.execute("insert into coming by name from arriving")
    connection.unregister("arriving")
    names = [name for name in attempts.columns if name not in ("run_id", "attempt")]
    connection.execute(
        f"update attempt set {', '.join(f'{name} = coalesce(coming.{name}, attempt.{name})' for name in names)} "
        "from coming where coming.run_id = attempt.run_id and coming.attempt = attempt.attempt "
        "and attempt.run_id in (select run_id from run where origin = 'imported')"
    )
    lacking = connection.sql(
        "select coming.* from coming where run_id not in (select run_id from attempt) order by run_id"
    ).to_arrow_table()
    connection.execute("drop table coming")
    first = next_load_key(connection)
    insert(connection, "attempt", lacking)
    connection.execute(
        "update attempt set load_key = numbered.load_key from (select run_id, row_number() over (order by run_id) + ? "
        "as load_key from attempt where load_key is null) numbered where attempt.run_id = numbered.run_id "
        "and attempt.load_key is null",
        [first - 1],
    )


def _add_losses(connection: DuckDBPyConnection, losses: pl.DataFrame) -> None:
    """Losses on the last finished attempt of their runs, in place of those of the same split."""
    connection.register("coming", losses.to_arrow())
    connection.execute("delete from loss_point where (run_id, split) in (select distinct (run_id, split) from coming)")
    rows = connection.sql("""
        select coming.* exclude (attempt), a.attempt, a.load_key
        from coming join (
            select run_id, max(attempt) as attempt, arg_max(load_key, attempt) as load_key
            from attempt where state = 'done' group by run_id
        ) a using (run_id)
    """).to_arrow_table()
    insert(connection, "loss_point", rows)
    connection.execute(
        "delete from loss_summary where (run_id, split) in (select distinct (run_id, split) from coming)"
    )
    connection.execute("""
        insert into loss_summary by name
        select
            run_id, attempt, split, count(*) as n_points,
            max(step) as last_step, arg_max(loss_nats, step) as last_loss, min(loss_nats) as min_loss,
            list_avg(array_agg(loss_nats order by step desc)[1:5]) as mean_last5_loss
        from loss_point
        where (run_id, split) in (select distinct (run_id, split) from coming)
        group by run_id, attempt, split
    """)
    connection.unregister("coming")


def undo(path: Path, load_id: str) -> dict[str, Any]:
    """Takes an import back: what it made goes, and what it replaced is there again.

    Returns:
        The load: format, source, and its rows by table.

    Raises:
        UsageError: no such load, or a later one changed the same runs.
    """
    with writing(path) as connection:
        rows = run_query(connection, "from import_load order by loaded_at, load_id::integer").to_dicts()
        found = next((row for row in rows if row["load_id"] == load_id), None)
        if found is None:
            named = ", ".join(f"{row['load_id']} ({row['source']})" for row in rows) or "none"
            raise UsageError(f"--undo {load_id}: {path} has no such import; it has: {named}")
        runs = _runs_of(found)
        later = next((row for row in rows[rows.index(found) + 1 :] if runs & _runs_of(row)), None)
        if later is not None:
            raise UsageError(f"--undo {load_id}: import {later['load_id']} changed the same runs: undo that one first")
        created, replaced = json.loads(found["created"]), json.loads(found["replaced"])
        for table in ("run", *RUN_TABLES):
            connection.execute(f"delete from {table} where run_id in (select unnest(?))", [sorted(runs)])
        for table in KEYS:
            if table != "run":
                _forget(connection, table, created.get(table, []), replaced.get(table, []))
        for table, content in replaced.items():
            _restore(connection, table, content)
        connection.execute("delete from import_load where load_id = ?", [load_id])
    return {"format": found["format"], "source": found["source"], "runs": len(created.get("run", []))}


def _runs_of(load: Mapping[str, Any]) -> set[str]:
    created, replaced = json.loads(load["created"]), json.loads(load["replaced"])
    return {*created.get("run", []), *(row["run_id"] for row in replaced.get("run", []))}


_USED_BY = {"base_model": ("run", "model_id"), "tuning_method": ("run", "method_id"),
            "dataset": ("run", "dataset_id"), "task": ("evaluation", "task_id")}  # fmt: skip


def _forget(connection: DuckDBPyConnection, table: str, created: Sequence[str], replaced: Sequence[Any]) -> None:
    """Deletes descriptions that a load made and nothing else uses, and those that it is about to restore."""
    key = KEYS[table]
    if created and table in _USED_BY:
        user, column = _USED_BY[table]
        connection.execute(
            f"delete from {table} where {key} in (select unnest(?)) "
            f"and {key} not in (select {column} from {user} where {column} is not null)",
            [list(created)],
        )
    if replaced:
        connection.execute(f"delete from {table} where {key} in (select unnest(?))", [[row[key] for row in replaced]])


def _restore(connection: DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa

    def plain(value: Any) -> Any:
        return json.dumps(value) if isinstance(value, dict | list) else None if value is None else str(value)

    names = [name for name in columns_of(connection, table) if any(name in row for row in rows)]
    insert(
        connection,
        table,
        pa.table({name: pa.array([plain(row.get(name)) for row in rows], pa.string()) for name in names}),
    )
