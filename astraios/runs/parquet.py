"""The Parquet files of a run directory, of which the database takes its rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from astraios.records import TABLES, Table, columns_of, plain_value

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_rows(table: Table, records: Sequence[Any], attempt: int) -> pa.Table:
    """Records of one table as the Parquet file of an attempt has them."""
    import pyarrow as pa

    types = {"integer": pa.int64(), "bigint": pa.int64(), "double": pa.float64(), "varchar": pa.string(),
             "json": pa.string()}  # fmt: skip
    columns = {}
    for name, column in columns_of(table.record).items():
        held: Iterable[Any] = map(attrgetter(name), records)
        columns[name] = pa.array(map(plain_value, held) if column.sql == "json" else held, types[column.sql])
    return pa.table({"attempt": pa.array([attempt] * len(records), pa.int32()), **columns})


def parquet_bytes(table: Table, records: Sequence[Any], attempt: int) -> bytes:
    """Content of the file; the same for all runs that have no rows."""
    return _written(table, records, attempt) if records else _empty(table.name)


def _written(table: Table, records: Sequence[Any], attempt: int) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rows, sink = arrow_rows(table, records, attempt), pa.BufferOutputStream()
    # Steps and tokens shrink as differences, texts by a dictionary; losses are noise that no compression shrinks.
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    parquet.write_table(
        rows,
        sink,
        compression={field.name: "zstd" if field.name in texts else "none" for field in rows.schema},
        use_dictionary=texts,
        column_encoding={f.name: "DELTA_BINARY_PACKED" for f in rows.schema if pa.types.is_integer(f.type)},
        write_statistics=False,
        store_schema=False,
    )
    return bytes(sink.getvalue().to_pybytes())


@cache
def _empty(table: str) -> bytes:
    return _written(TABLES[table], (), 1)
