"""A database as plain files, which any tool reads and `astraios import` takes back row for row."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import StoreError, UsageError, did_you_mean, why
from astraios.files import write_atomically
from astraios.store.connect import reading
from astraios.store.rows import LOAD_KEY, quoted
from astraios.store.schema import MAIN, sql_files

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet", "csv", "json")
INDEX = "export.json"
LAYOUT = "astraios export 1"


def export(path: Path, folder: Path, form: str = "parquet") -> dict[str, int]:
    """Writes every table to a file of its own, and last an index of them with the types of their columns.

    In CSV every text is quoted and null is an empty field. JSON is one object a line; a column that holds a number for
    which JSON has no word (NaN, infinity) is written as text.

    Args:
        path: the database.
        folder: made where it is missing; files of an earlier export are replaced.
        form: one of FORMATS.

    Returns:
        Rows by table.

    Raises:
        UsageError: unknown format.
        StoreError: the folder can't be written or holds something else.
    """
    if form not in FORMATS:
        raise UsageError(f"--format {form!r}: {did_you_mean(form, FORMATS)}")
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder} is a file: name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / INDEX).exists():
        raise StoreError(f"{folder} holds other files: name a new or empty folder")
    index: dict[str, Any] = {
        "layout": LAYOUT,
        "file_format": form,
        "schema": max(sql_files("migrations")),
        "tables": {},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with reading(path) as connection:
            for table, columns in _columns(connection).items():
                rows = connection.sql(
                    f"select {', '.join(map(quoted, columns))} from {quoted(table)} order by all"
                ).to_arrow_table()
                _write(rows, folder / f".{table}.{form}.{os.getpid()}.tmp", form)
                index["tables"][table] = {"rows": len(rows), "columns": columns}
        # All of it is written by now: the earlier export goes, and this one comes, by renames alone.
        (folder / INDEX).unlink(missing_ok=True)
        for table in index["tables"]:
            os.replace(folder / f".{table}.{form}.{os.getpid()}.tmp", folder / f"{table}.{form}")
        write_atomically(folder / INDEX, json.dumps(index, indent=1).encode())
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({why(error)})") from None
    return {table: facts["rows"] for table, facts in index["tables"].items()}


def _columns(connection: Any) -> dict[str, dict[str, str]]:
    rows = connection.execute(
        f"select table_name, column_name, data_type from duckdb_columns() where {MAIN} "
        f"and not internal and table_name in (select table_name from duckdb_tables() where {MAIN}) "
        "and table_name <> 'schema_migration' order by table_name, column_index"
    ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        if column != LOAD_KEY:
            tables.setdefault(table, {})[column] = kind
    return tables


def _write(rows: pa.Table, file: Path, form: str) -> None:
    from pyarrow import csv, parquet

    if form == "parquet":
        parquet.write_table(rows, file, compression="zstd")
    elif form == "csv":
        csv.write_csv(rows, file)
    else:
        _write_json(rows, file)


def _write_json(rows: pa.Table, file: Path) -> None:
    import pyarrow as pa
    from pyarrow import compute

    for at, field in enumerate(rows.schema):
        column = rows[field.name]
        infinite = pa.types.is_floating(field.type) and compute.all(compute.is_finite(column)).as_py() is False
        if infinite or pa.types.is_timestamp(field.type):
            rows = rows.set_column(at, field.name, compute.cast(column, pa.string()))
    with open(file, "w", encoding="utf-8") as out:
        for batch in rows.to_batches(max_chunksize=10_000):
            out.writelines(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in batch.to_pylist())
