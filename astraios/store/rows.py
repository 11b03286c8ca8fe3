"""Rows into tables: in bulk through Arrow, descriptions merged, final losses summarised."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from astraios.records import TABLES, plain_rows

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyConnection

LONG_TABLES = {table.file: table.name for table in TABLES.values() if table.file}
"""Tables whose rows lie in a Parquet file of the run directory, by its name."""
KEYS = {table.name: table.key for table in TABLES.values() if table.key}
"""Tables that describe something once, with their keys."""
RUN_TABLES = tuple(table.name for table in TABLES.values() if table.of == "run")
"""What hangs on a run, replaced whole with it."""
FIT_TABLES = tuple(table.name for table in TABLES.values() if table.of == "fit")
LOAD_KEY = "load_key"
"""Column that says where rows lie, and nothing about a run; each database has its own."""
POINT_TABLES = tuple(name for name, table in TABLES.items() if LOAD_KEY in table.columns and name != "attempt")
"""Points along training, which bear the number of their attempt."""
OWN_TABLES = tuple(name for name in TABLES if name not in KEYS and name not in RUN_TABLES)
"""What no run directory holds."""


def quoted(name: str) -> str:
    """A name as SQL takes it for nothing else."""
    return '"' + name.replace('"', '""') + '"'


def columns_of(connection: DuckDBPyConnection, table: str) -> list[str]:
    return [column[0] for column in connection.execute(f"from {quoted(table)} limit 0").description]


def next_load_key(connection: DuckDBPyConnection) -> int:
    """The number for the next run that is taken in."""
    return int(connection.execute("select coalesce(max(load_key), 0) + 1 from attempt").fetchall()[0][0])


def arrow_table(rows: Sequence[Any], **address: Any) -> pa.Table:
    """Records of one table as an Arrow table; see `plain_rows`."""
    import pyarrow as pa

    content = plain_rows(rows, **address)
    return pa.table({name: pa.array([row[name] for row in content]) for name in content[0]} if content else {})


def insert(connection: DuckDBPyConnection, table: str, rows: Any) -> None:
    if len(rows) == 0:
        return
    names = [name for name in columns_of(connection, table) if name in rows.column_names]
    connection.register("incoming", rows)
    columns = ", ".join(map(quoted, names))
    connection.execute(f"insert into {table} ({columns}) select {columns} from incoming")
    connection.unregister("incoming")


def merge(connection: DuckDBPyConnection, table: str, rows: Any, *, arriving_counts: bool = False) -> None:
    """Adds rows that describe something once; of two descriptions the fuller one stays.

    Of two equally full ones it is the first in order of their text. So the outcome does not hang on who came first, and
    a database that is made anew equals the one that grew.

    Args:
        connection: in a transaction.
        table: one of KEYS.
        rows: what arrives, as Arrow; the same description many times does no harm.
        arriving_counts: what arrives stands in place of what was there.
    """
    if len(rows) == 0:
        return
    key = KEYS[table]
    names = columns_of(connection, table)
    others = [name for name in names if name != key]

    def filled(of: str) -> str:
        return " + ".join(f"({of}.{quoted(name)} is not null)::int" for name in others)

    def text(of: str) -> str:
        return "concat_ws('|', " + ", ".join(f"coalesce({of}.{quoted(name)}::varchar, '')" for name in others) + ")"

    known = ", ".join(quoted(name) for name in names if name in rows.column_names)
    connection.register("described", rows)
    connection.execute(f"create or replace temp table typed as from {table} limit 0")
    connection.execute(f"insert into typed by name select distinct {known} from described")
    fuller = f"{filled('best')} > {filled(table)}"
    better = f"{fuller} or ({filled('best')} = {filled(table)} and {text('best')} < {text(table)})"
    connection.execute(
        f"merge into {table} using (from typed "
        f"qualify row_number() over (partition by {key} order by {filled('typed')} desc, {text('typed')}) = 1) best "
        f"on {table}.{key} = best.{key} "
        f"when matched and {'true' if arriving_counts else better} "
        f"then update set {', '.join(f'{quoted(name)} = best.{quoted(name)}' for name in others)} "
        f"when not matched then insert ({', '.join(map(quoted, names))}) "
        f"values ({', '.join(f'best.{quoted(name)}' for name in names)})"
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
