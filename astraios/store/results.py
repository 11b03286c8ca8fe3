"""Results that come as rows and not as run directories: imports and scores of generations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.store.connect import writing
from astraios.store.fits import replace_fits
from astraios.store.rows import (
    FIT_TABLES,
    KEYS,
    OWN_TABLES,
    POINT_TABLES,
    RUN_TABLES,
    SUMMARISE,
    insert,
    merge,
    next_load_key,
)

if TYPE_CHECKING:
    import polars as pl
    from duckdb import DuckDBPyConnection


_SAID = tuple(name for name in OWN_TABLES if name not in (*FIT_TABLES, "correlation", "import_load"))
"""What people and plans said, row by row."""


def import_frames(path: Path, frames: Mapping[str, pl.DataFrame], adds: bool = False) -> dict[str, int]:
    """Takes rows of another tool or study into the database, all or none; importing the same twice changes nothing.

    A run and what hangs on it (attempts, losses, scores) replace what the database had of that run; of two descriptions
    of anything else the fuller one stays. Final losses are worked out here.

    Args:
        path: the database.
        frames: rows by table.
        adds: the rows are evaluations that join what their runs have: on the last finished attempt, in place of those
            of the same task and number of demonstrations; the run, its losses and its other tasks stay.

    Returns:
        Rows by table.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        for table in KEYS:
            if table in frames:
                counts = table == "run" and not adds
                merge(connection, table, frames[table].to_arrow(), arriving_counts=counts)
        if adds:
            join_evaluations(connection, frames)
        elif "run" in frames:
            _replace_runs(connection, frames)
        if "fit" in frames:
            tables = {name: frames[name].to_arrow() for name in FIT_TABLES if name in frames}
            replace_fits(connection, tables)
        if "correlation" in frames:
            connection.register("arriving", frames["correlation"].select("source").unique().to_arrow())
            connection.execute(
                "delete from correlation where exists (select 1 from arriving a "
                "where a.source is not distinct from correlation.source)"
            )
            connection.unregister("arriving")
            insert(connection, "correlation", frames["correlation"].to_arrow())
        for table in _SAID:
            if table in frames:
                connection.register("arriving", frames[table].to_arrow())
                connection.execute(f"create or replace temp table typed as from {table} limit 0")
                connection.execute("insert into typed by name from arriving")
                connection.unregister("arriving")
                connection.execute(f"insert into {table} (from typed except all from {table})")
    return {table: len(frame) for table, frame in frames.items()}


def _replace_runs(connection: DuckDBPyConnection, frames: Mapping[str, pl.DataFrame]) -> None:
    connection.register("arriving", frames["run"].select("run_id").unique().to_arrow())
    for table in RUN_TABLES:
        connection.execute(f"delete from {table} where run_id in (select run_id from arriving)")
        if table in frames:
            insert(connection, table, frames[table].to_arrow())
    connection.execute(
        """
        update attempt set load_key = numbered.load_key
        from (
            select run_id, attempt, row_number() over (order by run_id, attempt) + ? as load_key
            from attempt
            where run_id in (select run_id from arriving)
        ) numbered
        where attempt.run_id = numbered.run_id and attempt.attempt = numbered.attempt
    """,
        [next_load_key(connection) - 1],
    )
    for table in POINT_TABLES:
        connection.execute(f"""
            update {table} set load_key = a.load_key
            from (from attempt where run_id in (select run_id from arriving)) a
            where {table}.run_id = a.run_id and {table}.attempt = a.attempt
        """)
    if "loss_summary" not in frames:
        connection.execute(SUMMARISE)
    connection.unregister("arriving")


_LATEST = """
select arriving.* exclude (attempt), coalesce(latest.attempt, 1)::integer as attempt
from arriving
left join (select run_id, max(attempt) as attempt from attempt where state = 'done' group by run_id) latest
    using (run_id)
"""


def join_evaluations(connection: DuckDBPyConnection, frames: Mapping[str, pl.DataFrame]) -> None:
    """Evaluations hung on the last finished attempt of their runs; a run that has none gets one."""
    connection.register("arriving", frames["attempt"].to_arrow())
    lacking = connection.sql("""
        select arriving.* exclude (attempt), (coalesce(tried.attempt, 0) + 1)::integer as attempt
        from arriving
        left join (
            select run_id, max(attempt) as attempt, bool_or(state = 'done') as done from attempt group by run_id
        ) tried using (run_id)
        where tried.done is distinct from true
    """).to_arrow_table()
    connection.unregister("arriving")
    insert(connection, "attempt", lacking)
    connection.register("replaced", frames["evaluation"].select("run_id", "task_id", "n_shot").unique().to_arrow())
    for table in ("evaluation", "score", "sample_score"):
        connection.execute(
            f"delete from {table} where (run_id, task_id, n_shot) in (select (run_id, task_id, n_shot) from replaced)"
        )
        if table in frames:
            connection.register("arriving", frames[table].to_arrow())
            insert(connection, table, connection.sql(_LATEST).to_arrow_table())
            connection.unregister("arriving")
    connection.unregister("replaced")
