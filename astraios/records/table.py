"""What a table of the database is: a record with each of its columns once, and what the store does with its rows."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import polars as pl

R = TypeVar("R")
Json = Mapping[str, Any] | Sequence[Any] | str
"""Plain values, nested; a text is JSON already."""
Timestamp = datetime | str
"""UTC without offset; a text is ISO 8601."""


@dataclass(frozen=True)
class Column:
    """A column, beside the annotation of the field that holds its values."""

    sql: str
    """Its SQL type, in lower case."""
    comment: str
    """What the database says about it."""
    unit: str | None = None
    """Of a number: tokens, seconds, nats a token, ..."""


@dataclass(frozen=True)
class Table:
    """A table of the database."""

    name: str
    comment: str
    record: type
    """Class of its rows."""
    address: type | None = None
    """Columns that a row gets when it is stored, in front of the record's own."""
    key: str | None = None
    """Where each row describes something once: the column that names it."""
    of: Literal["run", "fit"] | None = None
    """What its rows hang on, and are replaced with."""
    file: str | None = None
    """The Parquet file of a run directory that holds its rows."""

    @cached_property
    def columns(self) -> Mapping[str, Column]:
        """Columns by name."""
        return {**(columns_of(self.address) if self.address else {}), **columns_of(self.record)}

    @cached_property
    def required(self) -> frozenset[str]:
        """Columns without which there is no row."""
        hints = {
            name: hint
            for part in (self.address, self.record)
            if part
            for name, hint in typing.get_type_hints(part).items()
        }
        return frozenset(name for name in self.columns if type(None) not in typing.get_args(hints[name]))


TABLES: dict[str, Table] = {}
"""Tables by name."""


def row_of(
    name: str,
    *,
    address: type | None = None,
    key: str | None = None,
    of: Literal["run", "fit"] | None = None,
    file: str | None = None,
) -> Callable[[type[R]], type[R]]:
    """Declares a dataclass the record of a table; each field is `Annotated[type, Column(...)]`.

    The first paragraph of its docstring is what the database says about the table.
    """

    def declare(record: type[R]) -> type[R]:
        comment = (record.__doc__ or "").split("\n\n", 1)[0]
        TABLES[name] = Table(name, comment, record, address, key, of, file)
        return record

    return declare


def table_of(record: type) -> Table:
    """The table whose rows are of this class."""
    return next(table for table in TABLES.values() if table.record is record)


@cache
def columns_of(record: type) -> Mapping[str, Column]:
    """Columns of a class by name, in order."""
    hints = typing.get_type_hints(record, include_extras=True)
    return {name: next(a for a in hint.__metadata__ if isinstance(a, Column)) for name, hint in hints.items()}


@cache
def _names(record: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


def values(record: Any) -> dict[str, Any]:
    """A record's values by column; what they hold is not copied."""
    return {name: getattr(record, name) for name in _names(record.__class__)}


def from_values(record: type[R], row: Mapping[str, Any]) -> R:
    """A record from values by column, for instance those of a manifest; what is no column of it is passed over.

    Raises:
        ValueError: a column that must be there is not, or is null.
    """
    table = table_of(record)
    names = _names(table.record)
    known = {name: row[name] for name in names if name in row}
    for name in names:
        if name in table.required and known.get(name) is None:
            raise ValueError(f"{table.name}.{name} is missing")
    return record(**known)


def plain_rows(rows: Sequence[Any], **address: Any) -> list[dict[str, Any]]:
    """Values by column of records and of what they get when they are stored; nested values become JSON text.

    Args:
        rows: records of one table.
        address: columns of the table's address: a list with a value a row, else one value for all.
    """
    lists = {name: given if isinstance(given, list) else [given] * len(rows) for name, given in address.items()}
    return [
        {**{name: given[i] for name, given in lists.items()}, **{n: plain_value(v) for n, v in values(row).items()}}
        for i, row in enumerate(rows)
    ]


def plain_value(value: Any) -> Any:
    """A value as a column holds it: JSON text for what is nested."""
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping | list | tuple) else value


def frame(rows: Sequence[Any], **address: Any) -> pl.DataFrame:
    """`plain_rows` as a frame; a column without a value has the type Null, and the database casts the others."""
    import polars as pl

    return pl.DataFrame(plain_rows(rows, **address), infer_schema_length=None)


def schema(table: Table) -> dict[str, Any]:
    """The polars type of each column of a table."""
    import polars as pl

    types = {
        "varchar": pl.String, "json": pl.String, "bigint": pl.Int64, "integer": pl.Int64, "double": pl.Float64,
        "boolean": pl.Boolean, "timestamp": pl.Datetime("us"),
    }  # fmt: skip
    return {name: types[column.sql] for name, column in table.columns.items()}
