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


def columns_of(connection: DuckDBPyConnection, table: str) -> list[str]:
    rows = connection.execute(
        "select column_name from information_schema.columns where table_name = ? order by ordinal_position", [table]
    ).fetchall()
    return [row[0] for row in rows]


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


def merge(connection: DuckDBPyConnection, table: str, key: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows that the table lacks are added; those it has are left as they are, the first description counts."""
    unique = {row[key]: row for row in rows}
    if not unique:
        return
    connection.register("described", arrow_table(connection, table, list(unique.values())))
    names = ", ".join(n for n in columns_of(connection, table) if any(n in row for row in unique.values()))
    values = ", ".join(f"described.{name}" for name in names.split(", "))
    connection.execute(
        f"merge into {table} using described on {table}.{key} = described.{key} "
        f"when not matched then insert ({names}) values ({values})"
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
