"""Databases for the report's tests: the tiny ladder as made-up rows, and an empty one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import duckdb
import polars as pl
import pytest

from . import synthetic

Query = Callable[[str], pl.DataFrame]


@pytest.fixture(scope="session")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection)
        yield connection


@pytest.fixture(scope="session")
def query(con: duckdb.DuckDBPyConnection) -> Query:
    return lambda sql: con.sql(sql).pl()


@pytest.fixture(scope="session")
def empty_query() -> Iterator[Query]:
    with duckdb.connect() as connection:
        synthetic.create(connection)
        yield lambda sql: connection.sql(sql).pl()
