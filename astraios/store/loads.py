"""Imports of runs from elsewhere: recognised by what they measured, added to what is there, and undone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError
from astraios.records import ImportLoad, frame
from astraios.store.connect import reading, run_query, writing
from astraios.store.lake import there
from astraios.store.results import join_evaluations
from astraios.store.rows import KEYS, RUN_TABLES, columns_of, insert, merge, next_load_key

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


def evaluations_of(path: Path, runs: Collection[str]) -> list[dict[str, Any]]:
    """Evaluations of some runs with the runs' origins: run_id, origin, task_id, n_shot, settings."""
    if not runs or not there(path):
        return []
    sql = (
        "select run_id, origin, task_id, n_shot, e.settings from evaluation e join run using (run_id) "
        "where run_id in (select unnest(?)) order by all"
    )
    with reading(path) as connection:
        return run_query(connection, sql, [sorted(runs)]).to_dicts()


@dataclass(frozen=True)
class Load:
    """An import that changed something."""

    load_id: str
    """Its number, by which it can be undone."""
    runs: frozenset[str]
    """Runs that it made or changed."""
    described: Mapping[str, frozenset[str]]
    """Keys of what describes them that were new, by table."""
    new: frozenset[str] = frozenset()
    """Runs that it made."""


def add_results(
    path: Path, frames: Mapping[str, pl.DataFrame], form: str, source: str, adds: bool = False
) -> Load | None:
    """Adds runs to the database: what a run has already and what does not arrive stays as it is.

    Of a split that arrives, of an attempt and of an evaluation the arriving rows count; nothing else is touched. All or
    none.

    Args:
        path: the database.
        frames: rows by table; run rows as they are to be.
        form: name of the format, for the record of the load.
        source: name of the source, likewise.
        adds: the rows are evaluations that join what is there: attempts of stored runs stay as they are.

    Returns:
        The load; None where it changed nothing.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        known = _known(connection, frames)
        _keep(connection, known)
        for table in KEYS:
            if table in frames:
                merge(connection, table, frames[table].to_arrow(), arriving_counts=table == "run")
        if "attempt" in frames and not adds:
            _add_attempts(connection, frames["attempt"])
        if "loss_point" in frames:
            _add_losses(connection, frames["loss_point"])
        if "evaluation" in frames:
            join_evaluations(connection, frames)
        changed = _changed_keys(connection, known)
        created = {table: sorted(keys - known[table]) for table, keys in _arriving_keys(frames).items()}
        created = {table: keys for table, keys in created.items() if keys}
        if not created and not any(changed.values()):
            return None
        load = ImportLoad(
            load_id=_next(connection), format=form, source=source, created=created, replaced=_kept(connection, changed)
        )
        now = datetime.now(UTC).replace(tzinfo=None)
        insert(connection, "import_load", frame([load], loaded_at=now).to_arrow())
    described = {table: frozenset(keys) for table, keys in created.items() if table != "run"}
    new = frozenset(created.get("run", ()))
    return Load(load.load_id, new | changed["run"], described, new)


def _copies(known: Mapping[str, set[str]]) -> dict[str, tuple[str, str]]:
    """Tables of which rows are kept as they were, with their key and what is described by it."""
    own = {table: (KEYS[table], table) for table in known}
    return {**own, **dict.fromkeys(RUN_TABLES, ("run_id", "run"))}


def _keep(connection: DuckDBPyConnection, known: Mapping[str, set[str]]) -> None:
    """Copies what is there of what arrives, to see what changes."""
    for table, (key, described) in _copies(known).items():
        connection.execute(
            f"create or replace temp table kept_{table} as from {table} where {key} in (select unnest(?))",
            [sorted(known.get(described, ()))],
        )


def _changed_keys(connection: DuckDBPyConnection, known: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Keys of what was there and is another than it was, by what they are keys of."""
    changed: dict[str, set[str]] = {"run": set()}
    for table, (key, described) in _copies(known).items():
        # A sum of hashes for each key, for millions of losses are not to be held twice over.
        before, now = (
            f"(select {key}, count(*) as n, sum(hash(t)::hugeint) as content from {source} t group by {key})"
            for source in (f"kept_{table}", f"(from {table} where {key} in (select unnest($keys)))")
        )
        rows = connection.execute(
            f"select {key} from {before} b full join {now} n using ({key}) "
            "where b.n is distinct from n.n or b.content is distinct from n.content",
            {"keys": sorted(known.get(described, ()))},
        ).fetchall()
        changed.setdefault(described, set()).update(row[0] for row in rows)
    return changed


def _kept(connection: DuckDBPyConnection, changed: Mapping[str, set[str]]) -> dict[str, list[dict[str, Any]]]:
    """Rows as they were before, as JSON has them, of what changed."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for table, (key, described) in _copies(changed).items():
        cursor = connection.execute(
            f"select to_json(t)::varchar from (from kept_{table} where {key} in (select unnest(?)) order by all) t",
            [sorted(changed.get(described, ()))],
        )
        rows[table] = [json.loads(row[0]) for row in cursor.fetchall()]
    return {table: content for table, content in rows.items() if content}


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
    import polars as pl

    def plain(value: Any) -> Any:
        return json.dumps(value) if isinstance(value, dict | list) else None if value is None else str(value)

    names = [name for name in columns_of(connection, table) if any(name in row for row in rows)]
    columns = {name: [plain(row.get(name)) for row in rows] for name in names}
    insert(connection, table, pl.DataFrame(columns, schema=dict.fromkeys(names, pl.String)).to_arrow())
