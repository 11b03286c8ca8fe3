"""What a database offers to a query: tables, views, columns and macros with their descriptions."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.store.connect import reading, run_query, writing
from astraios.store.schema import MAIN, sql_files, sql_root

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Catalogue:
    """Everything that a query can name."""

    relations: pl.DataFrame
    """name, kind (table or view), comment."""
    columns: pl.DataFrame
    """relation, name, type, comment; in order."""
    macros: pl.DataFrame
    """name, parameters, kind (value or rows), comment."""


def catalogue(path: Path) -> Catalogue:
    """What a database offers.

    Raises:
        StoreError: no such database.
    """
    comments = _macro_comments()
    with reading(path) as connection:
        relations = run_query(
            connection,
            "select table_name as name, 'table' as kind, comment from duckdb_tables() "
            f"where {MAIN} and table_name <> 'schema_migration' union all "
            "select view_name, 'view', comment from duckdb_views() "
            f"where {MAIN} and not internal order by kind, name",
        )
        columns = run_query(
            connection,
            "select table_name as relation, column_name as name, data_type as type, comment from duckdb_columns() "
            f"where {MAIN} and not internal order by table_name, column_index",
        )
        macros = run_query(
            connection,
            "select function_name as name, array_to_string(parameters, ', ') as parameters, "
            "case function_type when 'macro' then 'value' else 'rows' end as kind from duckdb_functions() "
            "where database_name = current_database() and function_type in ('macro', 'table_macro') order by name",
        )
    import polars as pl

    said = pl.Series("comment", [comments.get(name, "") for name in macros["name"]], dtype=pl.String)
    return Catalogue(relations, columns.with_columns(_inherited(columns)), macros.with_columns(said))


def _inherited(columns: pl.DataFrame) -> pl.Series:
    """Comments of columns; one of a view that has none takes that of the table or view that it reads it from."""
    import polars as pl

    said = {(relation, name): comment for relation, name, _, comment in columns.iter_rows() if comment}
    views = sql_files("views")

    def look(relation: str, name: str) -> str | None:
        if (relation, name) in said or relation not in views:
            return said.get((relation, name))
        read = dict.fromkeys(re.findall(r"\b(?:from|join)\s+(\w+)", views[relation].split("comment on")[0]))
        return next((found for other in read if other != relation and (found := look(other, name))), None)

    return pl.Series("comment", [look(r, name) for r, name, _, _ in columns.iter_rows()], dtype=pl.String)


def catalogue_of_new() -> Catalogue:
    """What a database of this version offers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.duckdb"
        with writing(path):
            pass
        return catalogue(path)


def _macro_comments() -> dict[str, str]:
    """The comment lines right above each macro in macros.sql; DuckDB keeps none for them."""
    found, said = {}, ""
    for line in (sql_root() / "macros.sql").read_text(encoding="utf-8").splitlines():
        if line.startswith("--"):
            said = f"{said} {line.removeprefix('--').strip()}".strip()
        else:
            if match := re.match(r"create or replace macro (\w+)", line):
                found[match[1]] = said
            said = ""
    return found
