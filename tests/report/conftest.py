"""Databases for the report's tests: the tiny ladder as made-up rows, and an empty one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from astraios import store

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
    return synthetic.answers(con)


@pytest.fixture(scope="session")
def empty_query() -> Iterator[Query]:
    with duckdb.connect() as connection:
        synthetic.create(connection)
        yield synthetic.answers(connection)


@pytest.fixture
def ask() -> Iterator[Callable[[Path], Query]]:
    """Opens a database for a page's questions."""
    with contextlib.ExitStack() as held:

        def opened(db: Path) -> Query:
            connection = held.enter_context(store.reading_much(db))
            return lambda sql: store.run_query(connection, sql)

        yield opened
