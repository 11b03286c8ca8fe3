"""Records and migrations say the same about every table and column."""

from __future__ import annotations

import re
import typing
from pathlib import Path

import pytest

from astraios import store
from astraios.records import TABLES, LossPoint, RunRow, from_values, values

TYPES = {"varchar": {"str"}, "bigint": {"int"}, "integer": {"int"}, "double": {"float"}, "boolean": {"bool"}}


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "a.duckdb"
    store.ingest(path, tmp_path / "none")
    return path


def test_every_column_is_one_field_of_one_record(db: Path) -> None:
    sql = (
        "select table_name, column_name, lower(data_type), comment from duckdb_columns() "
        "where not internal and table_name in (select table_name from duckdb_tables()) "
        "and table_name <> 'schema_migration'"
    )
    declared = {
        (table.name, name, column.sql, column.comment)
        for table in TABLES.values()
        for name, column in table.columns.items()
    }
    assert set(store.query(db, sql).rows()) == declared


def test_every_table_is_described_as_its_record_is(db: Path) -> None:
    sql = "select table_name, comment from duckdb_tables() where table_name <> 'schema_migration'"
    assert dict(store.query(db, sql).rows()) == {table.name: table.comment for table in TABLES.values()}


def test_a_row_cannot_lack_what_the_database_insists_on(db: Path) -> None:
    sql = (
        "select table_name, column_name from duckdb_columns() where not internal and not is_nullable "
        "and table_name in (select table_name from duckdb_tables()) and table_name <> 'schema_migration'"
    )
    required = {(table.name, name) for table in TABLES.values() for name in table.required}
    insisted = set(store.query(db, sql).rows())
    assert insisted <= required
    # What is measured here always has these; what others measured may not.
    assert required - insisted == {
        ("score", "value"),
        ("sample_score", "value"),
        ("sample_score", "verdict"),
    }


def test_fields_hold_what_their_columns_hold() -> None:
    for table in TABLES.values():
        for part in (table.address, table.record):
            for name, hint in typing.get_type_hints(part).items() if part else ():
                sql = table.columns[name].sql
                kinds = {kind.__name__ for kind in typing.get_args(hint) or (hint,) if kind is not type(None)}
                assert sql not in TYPES or kinds == TYPES[sql], f"{table.name}.{name}"


def test_a_number_of_something_says_of_what() -> None:
    """A name in the plural or with a unit in it stands for a quantity."""
    quantity = re.compile(r"^n_|^n$|tokens|bytes|seconds|flops|loss|steps?$")
    for table in TABLES.values():
        for name, column in table.columns.items():
            if column.sql in ("bigint", "integer", "double") and quantity.search(name):
                assert column.unit, f"{table.name}.{name} has no unit"


def test_a_record_is_its_values() -> None:
    row = {"run_id": "r", "origin": "measured", "model_id": "m", "method_id": "fft", "n_params": 10}
    run = from_values(RunRow, {**row, "not_a_column": 1})
    assert {name: value for name, value in values(run).items() if value is not None} == row
    with pytest.raises(ValueError, match=r"run\.n_params is missing"):
        from_values(RunRow, {**row, "n_params": None})
    assert values(LossPoint("test", 1, 2, 3.0))["loss_nats"] == 3.0
