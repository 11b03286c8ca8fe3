"""Serve mode while runs are being logged: their curves grow in a real browser, without a reload by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import astraios
from astraios import store
from astraios.report.serve import ReportServer, make_server
from astraios.track import Run

from .conftest import Open, ready

expect = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed").expect
LINES = "#loss-curve svg .mark-line path, #loss-curve svg path[aria-roledescription='line mark']"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReportServer]:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    server = make_server(lambda sql: store.query(db, sql), port=0, every=0.3, title="Live")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def log(runs: list[Run], steps: range, out: Path) -> None:
    """Losses of both runs, taken in as `ingest --watch` does."""
    for run in runs:
        for step in steps:
            run.log({"eval/loss": 3.0 / (1 + step)}, step=step)
    store.ingest(out.parent / "a.duckdb", out)


@pytest.mark.promise("The report follows runs that are being logged")
def test_curves_of_two_runs_grow_while_they_are_logged(tmp_path: Path, server: ReportServer, opened: Open) -> None:
    out = tmp_path / "runs"
    runs = [astraios.init(model="mine/a", method=name, n_params=1e6, out=out, id=name) for name in ("fft", "lora")]
    log(runs, range(3), out)
    page = opened(server.url)
    ready(page)

    def points() -> list[int]:
        expect(page.locator("#loss-curve svg")).to_have_count(1)
        drawn = page.locator(LINES).evaluate_all("paths => paths.map(p => p.getAttribute('d').split('L').length)")
        return sorted(drawn)

    assert points() == [3, 3]
    for n in (8, 15):
        with page.expect_navigation():
            log(runs, range(n), out)
        ready(page)
        assert points() == [n, n]
    for run in runs:
        run.finish()
    page.close()
    assert page.watch.errors == []  # type: ignore[attr-defined]
