"""Serve mode in a real browser: the page follows a writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import duckdb
import polars as pl
import pytest

from astraios.report.serve import ReportServer, make_server
from tests.report import synthetic

from .conftest import Open, ready

expect = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed").expect


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(str(tmp_path / "live.duckdb")) as con:
        synthetic.create(con)
        yield con


@pytest.fixture
def server(writer: duckdb.DuckDBPyConnection) -> Iterator[ReportServer]:
    lock = threading.Lock()

    def query(sql: str) -> pl.DataFrame:
        with lock, writer.cursor() as reader:
            return reader.sql(sql).pl()

    server = make_server(query, port=0, every=0.3, title="Live")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.promise("the page answers its reader")
def test_the_page_follows_the_runs_that_arrive(
    writer: duckdb.DuckDBPyConnection, server: ReportServer, opened: Open
) -> None:
    page = opened(server.url)
    assert "An empty database" in page.locator("header").inner_text()
    with page.expect_navigation():
        synthetic.fill(writer.cursor(), seeds=1)
    # The writer commits row by row: the page may come back more than once before it shows them all.
    expect(page.locator("header")).to_contain_text("28 runs", timeout=30_000)
    ready(page)
    expect(page.locator("#final-loss svg")).to_have_count(1, timeout=30_000)
    assert page.watch.errors == []  # type: ignore[attr-defined]
    assert {url.split("/")[2] for url in page.watch.left()} == {server.url.split("/")[2]}  # type: ignore[attr-defined]
