"""Controls of the page: a target size on a slider, the axis of reducible loss, forecasts of what is running."""

from __future__ import annotations

import math
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import astraios
from astraios import store, workflow
from astraios.report.page import render_page
from astraios.report.serve import make_server

from .conftest import Open, ready
from .test_readable import OVERLAPS

if TYPE_CHECKING:
    from playwright.sync_api import Page

expect = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed").expect


def rows(page: Page) -> dict[str, list[str]]:
    lines = page.locator("#targets tbody tr").all()
    return {line.locator("th").inner_text(): line.locator("td").all_inner_texts() for line in lines}


def move(page: Page, share: float) -> None:
    page.locator("#targets input").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", round(1000 * share)
    )


@pytest.mark.promise("the page answers its reader")
def test_the_target_slider_reads_the_stored_curve(fitted: dict[str, Path], opened: Open) -> None:
    page = opened(fitted["demo"])
    db = fitted["demo"].with_suffix(".duckdb")
    curve = store.query(db, "from latest_curve left join tuning_method using (method_id) order by n_params")
    sizes = curve["n_params"].unique().sort()
    low, high = math.log(sizes[0]), math.log(sizes[-1])
    for k in (0, 10, 32):
        move(page, (math.log(sizes[k]) - low) / (high - low))
        shown = rows(page)
        here = {row["title"]: row for row in curve.filter(n_params=sizes[k]).to_dicts()}
        assert set(shown) == set(here)
        assert list(shown) == sorted(here, key=lambda title: here[title]["mean"]), "the lowest loss first"
        for title, (mean, interval, new, best) in shown.items():
            row = here[title]
            assert float(mean) == pytest.approx(row["mean"], abs=2e-3)  # the slider has a thousand steps
            assert [float(v) for v in interval.split(" to ")] == pytest.approx([row["low"], row["high"]], abs=4e-3)
            assert [float(v) for v in new.split(" to ")] == pytest.approx([row["new_low"], row["new_high"]], abs=4e-3)
            assert best == (">99%" if row["p_best"] > 0.99 else "<1%" if row["p_best"] < 0.01 else best)
    ranking = store.query(db, "select method_id, mean, may_be_best from main_ranking where is_target")
    titles = dict(curve.select("method_id", "title").unique().rows())
    shown = rows(page)
    for method, mean, _ in ranking.rows():
        assert float(shown[titles[method]][0]) == pytest.approx(mean, abs=6e-5), "at the target: what the ranking says"
    marked = page.locator("#targets tr.may-be-best th").all_inner_texts()
    assert set(marked) == {titles[method] for method, _, may_be in ranking.rows() if may_be}
    assert "3.4M parameters" in page.locator("#targets output").inner_text()
    assert page.watch.left() == []  # type: ignore[attr-defined]


@pytest.mark.promise("the page answers its reader")
def test_the_target_slider_works_by_keyboard_and_heeds_the_series(fitted: dict[str, Path], opened: Open) -> None:
    page = opened(fitted["demo"])
    slider = page.get_by_role("slider", name="Target size")
    before = rows(page)
    slider.focus()
    page.keyboard.press("Home")
    assert rows(page) != before
    assert "parameters" in (slider.get_attribute("aria-valuetext") or "")
    page.locator("#series summary").click()
    page.get_by_label("LoRA", exact=True).uncheck()
    ready(page)
    assert "LoRA" not in rows(page)
    assert len(rows(page)) == len(before) - 1


def test_the_target_slider_of_sizes_and_tokens_asks_for_tokens(fitted: dict[str, Path], opened: Open) -> None:
    page = opened(fitted["tokens"])
    assert "8B parameters, 64B tokens" in page.locator("#targets output").inner_text()
    most = rows(page)
    page.locator("#targets select").select_option("1B")
    less = rows(page)
    assert set(less) == set(most)
    assert all(float(less[name][0]) > float(most[name][0]) for name in most)


@pytest.mark.promise("the page answers its reader")
def test_the_axis_becomes_reducible_loss_and_back(fitted: dict[str, Path], opened: Open) -> None:
    page = opened(fitted["demo"], 768)
    title = "test loss above the floor, nats"
    assert page.locator("svg text", has_text=title).count() == 0
    page.locator("#projection-loss").get_by_role("button", name="Reducible loss").focus()
    page.keyboard.press("Enter")
    ready(page)
    other = page.locator("#projection-reducible")
    assert other.locator("svg text", has_text=title).count() > 3
    assert page.locator("#projection-loss").count() == 0
    assert page.evaluate("document.activeElement.textContent") == "Loss in nats", "the keyboard stays where it was"
    assert page.evaluate(OVERLAPS) == []
    other.get_by_text("Data as a table").click()
    expect(other.locator(".rows thead")).to_contain_text("floor_low")
    page.get_by_role("button", name="Switch to the dark scheme").click()
    ready(page)
    other.get_by_role("button", name="Loss in nats").click()
    ready(page)
    assert page.locator("#projection-loss .chart").get_attribute("data-drawn") == "dark"
    assert page.watch.errors == []  # type: ignore[attr-defined]


def test_running_runs_are_forecast_on_the_live_page(tmp_path: Path, opened: Open) -> None:
    """Three runs of 100 steps, one finished: the two others are drawn with what `status --forecast` says."""
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for name, reach, level in (("done", 100, 2.0), ("half", 50, 2.1), ("young", 3, 2.2)):
        run = astraios.init(model="mine/a", method="lora", n_params=1e6, out=out, id=name, steps=100)
        for step in range(1, reach + 1):
            run.log({"eval/loss": level + 2 * step**-0.5}, step=step)
        if reach == 100:
            run.finish()
    store.ingest(db, out)
    said = {row["run_id"]: row for row in workflow.forecast(out)}
    assert said["half"]["mean"] is not None
    assert said["young"]["why"]
    server = make_server(lambda sql: store.query(db, sql), port=0, running=lambda: workflow.forecast(out))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        page = opened(server.url)
        figure = page.locator("#forecasts")
        assert figure.locator("svg text", has_text="step 50 of 100").count() == 1
        assert figure.locator("svg text", has_text="step 3 of 100, too few losses").count() == 1
        table = page.evaluate("JSON.parse(document.getElementById('forecasts-rows').textContent)")
        shown = {row[0]: dict(zip(table["columns"], row, strict=True)) for row in table["rows"]}
        assert set(shown) == {"half", "young"}
        assert shown["half"] == {**said["half"]}
        assert page.watch.errors == []  # type: ignore[attr-defined]
        page.close()
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_page_without_running_runs_says_nothing_of_them(fitted: dict[str, Path]) -> None:
    db = fitted["tokens"].with_suffix(".duckdb")
    assert 'id="forecasts"' not in render_page(lambda sql: store.query(db, sql))
