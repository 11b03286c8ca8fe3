"""Tables of text, numbers and nulls: CSV, TSV, JSON lines, JSON and Parquet, refused with the line that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError
from astraios.importers._files import kind, read_bytes, read_json, read_lines, read_text

if TYPE_CHECKING:
    import polars as pl

ENDINGS = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".json", ".log")
_SIZE = re.compile(r"^\s*([0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?)\s*([kKmMbBgGtT])\s*$")
_WIDEST, _CELLS = 10_000, 50_000_000
"""Columns and values of a table that are read."""
_SUFFIXES = {"k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


@dataclass(frozen=True)
class Table:
    """A table as it stands in a file."""

    path: Path
    frame: pl.DataFrame
    """CSV: all texts. JSON: texts where a column mixes kinds."""
    lines: Sequence[int] | None
    """Line of each row; None where rows are counted."""
    comma: bool = False
    """Whether numbers may have a decimal comma."""

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.name.removesuffix(".gz").rpartition(".")[0] or self.path.name

    def others(self, used: Collection[str]) -> tuple[pl.DataFrame, dict[str, str]]:
        """Columns beside those in use, as texts, and the kinds of those that no text can be made of, by name."""
        import polars as pl

        texts, strange = [], {}
        for name in self.frame.columns:
            kind = self.frame[name].dtype
            if name in used:
                continue
            if kind.is_nested() or kind.base_type() in (pl.Binary, pl.Duration, pl.Object, pl.Time):
                strange[name] = str(kind).partition("(")[0]
            else:
                texts.append(self.texts(name))
        return pl.DataFrame(texts), strange

    def place(self, row: int) -> str:
        """Where a row stands, for messages."""
        return f"{self.path}: " + (f"line {self.lines[row]}" if self.lines else f"row {row + 1}")

    def texts(self, name: str) -> pl.Series:
        """A column as texts; numbers as JSON writes them."""
        import polars as pl

        column = self.frame[name]
        return column if column.dtype == pl.String else column.cast(pl.String)

    def numbers(self, name: str) -> pl.Series:
        """A column as floats; "NaN", "inf" and "-inf" are numbers, null and empty stay null.

        Raises:
            DataError: a value is no number; the line says where.
        """
        import polars as pl

        column = self.frame[name]
        if column.dtype.base_type() in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if column.dtype == pl.String:
            plain = column.str.strip_chars()
            if self.comma:
                plain = plain.str.replace(r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$", "$1.$2")
            plain = pl.select(pl.when(plain != "").then(plain)).to_series() if len(plain) else plain
            found = plain.cast(pl.Float64, strict=False)
            self._refuse(plain, found, name, "a number")
            return found
        if not column.dtype.is_numeric() and column.dtype != pl.Null:
            raise DataError(f"{self.path}: column {name!r} should hold numbers, not {column.dtype}")
        return column.cast(pl.Float64)

    def whole(self, name: str, sizes: bool = False) -> pl.Series:
        """A column as integers; with `sizes` also "1.1B".

        Raises:
            DataError: a value is no whole number; the line says where.
        """
        import polars as pl

        column = self.frame[name]
        if column.dtype.base_type() in (pl.Categorical, pl.Enum):
            column = column.cast(pl.String)
        if column.dtype == pl.UInt64:
            column = column.cast(pl.Int64, strict=False)
            self._refuse(self.frame[name], column, name, "a number below 2**63")
        if column.dtype.is_integer():
            return column.cast(pl.Int64)
        if column.dtype == pl.String and sizes:
            column = pl.Series(name, [_size(text, self.comma) for text in column], dtype=pl.String)
        if column.dtype == pl.String:
            exact = column.str.strip_chars().cast(pl.Int64, strict=False)
            if exact.null_count() == column.null_count():
                return exact
        floats = Table(self.path, self.frame.with_columns(column.alias(name)), self.lines, self.comma).numbers(name)
        found = floats.cast(pl.Int64, strict=False)
        rounded = pl.select(pl.when(found.cast(pl.Float64) == floats).then(found)).to_series() if len(found) else found
        self._refuse(floats, rounded, name, "a whole number")
        return rounded

    def _refuse(self, given: pl.Series, found: pl.Series, name: str, wanted: str) -> None:
        wrong = (given.is_not_null() & found.is_null()).arg_true()
        if len(wrong):
            value = self.frame[name][int(wrong[0])]
            raise DataError(f"{self.place(int(wrong[0]))}: {name} should be {wanted}, not {value!r:.60}")


def read_table(path: Path) -> Table:
    """A whole table.

    Raises:
        DataError: the file is not whole, or not a table.
    """
    ending = path.name.removesuffix(".gz").rpartition(".")[2].lower()
    if ending == "parquet":
        return _parquet(path)
    if ending in ("jsonl", "ndjson"):
        numbered = list(read_lines(path))
        return Table(path, _frame([row for _, row in numbered], path), [line for line, _ in numbered])
    if ending == "json":
        return _json(path)
    return _csv(path, "\t" if ending == "tsv" else ",")


def _csv(path: Path, delimiter: str) -> Table:
    import polars as pl
    import pyarrow as pa
    from pyarrow import csv

    text = read_text(path)
    if not text.strip():
        raise DataError(f"{path}: line 1: an empty file")
    first = text.partition("\n")[0]
    if delimiter == "," and first.count(";") > first.count(","):
        delimiter = ";"
    header = _header(path, text, delimiter)
    try:
        table = csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=csv.ReadOptions(use_threads=False, column_names=header, skip_rows=0, block_size=1 << 26),
            parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=False),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(header, pa.large_string()), strings_can_be_null=True, null_values=[""],
                quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
    except pa.ArrowInvalid as error:
        place = re.search(r"Row #(\d+)", str(error))
        reason = str(error).partition(": ")[2].partition(": ")[2] or str(error)
        raise DataError(f"{path}: line {place[1] if place else 1}: {reason.splitlines()[0]:.120}") from None
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame = frame.slice(1)
    straight = text.count("\n") in (len(frame), len(frame) + 1)
    return Table(path, frame, range(2, len(frame) + 2) if straight else None, delimiter != ",")


def _header(path: Path, text: str, delimiter: str) -> list[str]:
    import csv
    import io

    header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    stripped = [name.strip() for name in header]
    header = stripped if len(set(stripped)) == len(set(header)) else header
    _check_width(path, len(header))
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path}: line 1: two columns are called {name!r}")
    return header


def _check_width(path: Path, columns: int, rows: int = 0) -> None:
    if columns > _WIDEST:
        raise DataError(f"{path}: {columns:,} columns, more than the {_WIDEST:,} that are read")
    if columns * rows > _CELLS:
        raise DataError(f"{path}: {rows:,} rows of {columns:,} columns, more than the {_CELLS:,} values that are read")


def _parquet(path: Path) -> Table:
    import polars as pl
    import pyarrow as pa
    from pyarrow import parquet

    try:
        packed = read_bytes(path)
        content = pa.BufferReader(packed)
        about = parquet.read_metadata(content)
        _check_width(path, about.num_columns, about.num_rows)
        inflated = sum(about.row_group(group).total_byte_size for group in range(about.num_row_groups))
        if inflated > max(64 << 20, 60 * len(packed)):
            raise DataError(f"{path}: {len(packed):,} packed bytes unpack to {inflated:,}: these are no results")
        frame = pl.from_arrow(parquet.read_table(content, page_checksum_verification=True))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a whole Parquet file ({' '.join(str(error).split()):.160})") from None
    assert isinstance(frame, pl.DataFrame)
    return Table(path, frame, None)


def _json(path: Path) -> Table:
    """A list of objects, or the columns that pandas writes without orient: {name: {row: value}}."""
    content = read_json(path)
    if isinstance(content, dict) and content and all(isinstance(column, dict) for column in content.values()):
        rows: dict[str, dict[str, Any]] = {}
        for name, column in content.items():
            for row, value in column.items():
                rows.setdefault(row, {})[name] = value
        content = list(rows.values())
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: line 1: a list of objects was expected, not {kind(content)}")
    return Table(path, _frame(content, path), None)


def _frame(rows: list[dict[str, Any]], path: Path) -> pl.DataFrame:
    """Rows of JSON; a column that mixes kinds becomes texts."""
    import polars as pl

    names = dict.fromkeys(name for row in rows for name in row)
    _check_width(path, len(names), len(rows))
    columns = []
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds <= {int} and all(value is None or abs(value) < 1 << 63 for value in values):
            columns.append(pl.Series(_sound(name), values, dtype=pl.Int64))
        elif kinds <= {int, float}:
            columns.append(pl.Series(_sound(name), [None if v is None else float(v) for v in values], dtype=pl.Float64))
        else:
            texts = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
            columns.append(pl.Series(_sound(name), [t and _sound(t) for t in texts], dtype=pl.String))
    return pl.DataFrame(columns)


def _sound(text: str) -> str:
    """A text without lone surrogates, which no database holds."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _size(text: str | None, comma: bool) -> str | None:
    """ "1.1B" written out, with `comma` "1,1B" too; anything else as it is."""
    found = _SIZE.match(text.replace(",", ".") if comma else text) if text else None
    return f"{float(found[1]) * _SUFFIXES[found[2].lower()]:.0f}" if found else text
