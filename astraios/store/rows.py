"""Rows into tables: in bulk through Arrow, descriptions merged, final losses summarised."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

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
RUN_TABLES = ("attempt", "evaluation", "loss_summary", *LONG_TABLES.values())
"""What hangs on a run, replaced whole with it."""
FIT_TABLES = ("fit", "fit_parameter", "fit_point", "fit_draw", "projection", "backtest")
LOAD_KEY = "load_key"
"""Column that says where rows lie, and nothing about a run; each database has its own."""
OWN_TABLES = (*FIT_TABLES, "correlation", "curation")
"""What no run directory holds."""


def columns_of(connection: DuckDBPyConnection, table: str) -> list[str]:
    return [column[0] for column in connection.execute(f"from {table} limit 0").description]


def next_load_key(connection: DuckDBPyConnection) -> int:
    """The number for the next run that is taken in."""
    return int(connection.execute("select coalesce(max(load_key), 0) + 1 from attempt").fetchall()[0][0])


def arrow_table(connection: DuckDBPyConnection, table: str, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows as an Arrow table with the columns that the database's table has; nested values become JSON text."""
    import pyarrow as pa

    def plain(value: Any) -> Any:
        return json.dumps(value, sort_keys=True) if isinstance(value, dict | list | tuple) else value

    names = [name for name in columns_of(connection, table) if any(name in row for row in rows)]
    return pa.table({name: pa.array([plain(row.get(name)) for row in rows]) for name in names})


def insert(connection: DuckDBPyConnection, table: str, rows: Any) -> None:
    if len(rows) == 0:
        return
    names = [name for name in columns_of(connection, table) if name in rows.column_names]
    connection.register("incoming", rows)
    columns = ", ".join(names)
    connection.execute(f"insert into {table} ({columns}) select {columns} from incoming")
    connection.unregister("incoming")


def merge(
    connection: DuckDBPyConnection,
    table: str,
    key: str,
    rows: Iterable[Mapping[str, Any]],
    *,
    arriving_counts: bool = False,
) -> None:
    """Adds rows that describe something once; of two descriptions the fuller one stays.

    Of two equally full ones it is the first in order of their text. So the outcome does not hang on who came first, and
    a database that is made anew equals the one that grew.

    Args:
        connection: in a transaction.
        table: one of KEYS.
        key: its key.
        rows: what arrives; the same description many times does no harm.
        arriving_counts: what arrives stands in place of what was there.
    """
    unique = {(row[key], repr(sorted(row.items(), key=lambda item: item[0]))): row for row in rows}
    if not unique:
        return
    names = columns_of(connection, table)
    others = [name for name in names if name != key]

    def filled(of: str) -> str:
        return " + ".join(f"({of}.{name} is not null)::int" for name in others)

    def text(of: str) -> str:
        return "concat_ws('|', " + ", ".join(f"coalesce({of}.{name}::varchar, '')" for name in others) + ")"

    connection.register("described", arrow_table(connection, table, list(unique.values())))
    connection.execute(f"create or replace temp table typed as from {table} limit 0")
    connection.execute("insert into typed by name from described")
    fuller = f"{filled('best')} > {filled(table)}"
    better = f"{fuller} or ({filled('best')} = {filled(table)} and {text('best')} < {text(table)})"
    connection.execute(
        f"merge into {table} using (from typed "
        f"qualify row_number() over (partition by {key} order by {filled('typed')} desc, {text('typed')}) = 1) best "
        f"on {table}.{key} = best.{key} "
        f"when matched and {'true' if arriving_counts else better} "
        f"then update set {', '.join(f'{name} = best.{name}' for name in others)} "
        f"when not matched then insert ({', '.join(names)}) values ({', '.join(f'best.{name}' for name in names)})"
    )
    connection.unregister("described")


SUMMARISE = """
insert into loss_summary by name
select
    run_id, attempt, split, count(*) as n_points,
    max(step) as last_step, arg_max(loss_nats, step) as last_loss, min(loss_nats) as min_loss,
    list_avg(array_agg(loss_nats order by step desc)[1:5]) as mean_last5_loss
from loss_point
where run_id in (select run_id from arriving)
group by run_id, attempt, split
"""
