"""A folder that `astraios export` wrote, in any of its formats: every table, row for row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError
from astraios.importers import Imported, Importer, Wanted

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

INDEX = "export.json"
LAYOUT = "astraios export 1"


@dataclass(frozen=True, kw_only=True)
class Exported(Importer):
    """Reads export.json and the files that it names."""

    def matches(self, source: str) -> bool:
        return (Path(source) / INDEX).is_file()

    def read(self, source: str, wanted: Wanted) -> Imported:
        folder = Path(source)
        try:
            index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
            form, tables = index["file_format"], index["tables"]
            if index["layout"] != LAYOUT:
                raise DataError(f"{folder / INDEX}: layout {index['layout']!r}, this astraios reads {LAYOUT!r}")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{folder / INDEX}: not the index of an export ({error})") from None
        frames = {}
        for table, facts in tables.items():
            file = folder / f"{table}.{form}"
            frame = _read(file, form, facts["columns"]) if facts["rows"] else None
            if frame is None:
                continue
            if len(frame) != facts["rows"]:
                raise DataError(f"{file}: {len(frame):,} rows, the index says {facts['rows']:,}; export again")
            frames[table] = frame
        return Imported(frames)


def _read(file: Path, form: str, columns: Mapping[str, str]) -> pl.DataFrame:
    """Rows of one file; CSV as text, which the database casts back."""
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if form == "parquet":
            return _frame(parquet.read_table(file), columns, file)
        if form == "csv":
            options = csv.ConvertOptions(
                column_types={name: pa.string() for name in columns},
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            )
            rows = csv.read_csv(file, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=options)
            return _frame(rows, columns, file)
        with open(file, encoding="utf-8", newline="\n") as lines:
            content = [_object(line, file, number) for number, line in enumerate(lines, 1)]
        return _frame(pa.table({name: pa.array([row.get(name) for row in content]) for name in columns}), columns, file)
    except (OSError, pa.ArrowException, pl.exceptions.PolarsError) as error:
        raise DataError(f"{file}: not readable ({' '.join(str(error).split())[:200]})") from None


def _object(line: str, file: Path, number: int) -> dict[str, Any]:
    try:
        row: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise DataError(f"{file}, line {number}: not JSON ({error})") from None
    return row


def _frame(rows: pa.Table, columns: Mapping[str, str], file: Path) -> pl.DataFrame:
    import polars as pl

    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise DataError(f"{file}: no column {missing[0]!r}, which the index names")
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    return frame


exported = Exported(name="astraios-export", title="an export of an astraios database", priority=10)
