"""The page in a real browser, network off: drawn, usable, accessible, and not to be broken by what a database holds."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from astraios.report.page import render_page
from tests.report import synthetic

from .conftest import Open, database, ready

expect = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed").expect
WIDTHS = (1100, 390)


@pytest.mark.promise("the page is whole and needs no network")
@pytest.mark.promise("every chart is drawn, readable and offline")
@pytest.mark.parametrize("which", ["tiny", "paper", "empty"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_chart_is_drawn_and_nothing_leaves(
    files: dict[str, Path], opened: Open, which: str, width: int, scheme: str
) -> None:
    page = opened(files[which], width, scheme)
    charts = page.locator(".chart")
    assert charts.count() == {"tiny": 26, "paper": 6, "empty": 0}[which]
    drawn = page.evaluate(
        """() => [...document.querySelectorAll('.chart')].map(box => {
            const svg = box.querySelector('svg');
            return [box.dataset.spec, svg?.getBoundingClientRect().width ?? 0, box.getBoundingClientRect().width,
                    svg?.querySelectorAll('.mark-symbol path, .mark-line path, .mark-rect path').length ?? 0];
        })"""
    )
    for name, chart, room, marks in drawn:
        assert 0.6 * room < chart <= room + 2, name
        assert marks > 0, name
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.watch.errors == []  # type: ignore[attr-defined]
    assert page.watch.left() == []  # type: ignore[attr-defined]


@pytest.mark.promise("the page answers its reader")
def test_a_point_tells_its_values(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    page.locator("#final-loss .mark-symbol path").first.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    text = tooltip.inner_text()
    assert "loss, nats" in text
    assert "base model" in text
    assert "seeds" in text


@pytest.mark.promise("the page answers its reader")
def test_the_scheme_follows_the_system_and_the_button(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"], scheme="dark")
    root = page.locator("html")
    assert root.get_attribute("data-scheme") == "dark"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.get_by_role("button", name="Switch to the light scheme")
    button.focus()
    page.keyboard.press("Enter")
    ready(page)
    assert root.get_attribute("data-scheme") == "light"
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
    assert set(page.evaluate("[...document.querySelectorAll('.chart')].map(box => box.dataset.drawn)")) == {"light"}
    fill = page.evaluate(
        "document.querySelector('.chart svg rect.background, .chart svg > rect')?.getAttribute('fill')"
    )
    assert fill in ("#fdfcf9", None)


@pytest.mark.promise("the page answers its reader")
def test_the_data_come_as_csv(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the data of Final loss").click()
    assert download.value.suggested_filename == "final-loss.csv"
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("origin,ladder,dataset_id,method_id,method,n_params") or lines[0].startswith("method_id")
    with duckdb.connect() as con:
        query = database(con, "tiny")
        expected = query("select * from method_size_grid where split in ('train', 'test')")
    assert len(lines) == 1 + expected.height
    column = lines[0].split(",").index("loss_nats")
    assert sorted(float(line.split(",")[column]) for line in lines[1:]) == sorted(expected["loss_nats"])


@pytest.mark.promise("the page answers its reader")
def test_the_sql_panel_and_the_table_open(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    figure = page.locator("#final-loss")
    assert not figure.locator("pre").is_visible()
    figure.get_by_text("SQL", exact=True).click()
    assert "from method_size_grid" in figure.locator("pre").inner_text()
    figure.get_by_text("Data as a table").click()
    expect(figure.locator(".rows tbody tr")).to_have_count(72)  # filled by an event that follows the click
    page.locator("#ranking").get_by_text("Fits (9)").click()
    expect(page.locator("#ranking code")).to_have_count(9)


@pytest.mark.promise("the page answers its reader")
def test_a_hostile_name_is_shown_as_text(tmp_path: Path, opened: Open) -> None:
    name = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'</script>${alert(3)}{{4}}" + "A" * 1_000_000
    with duckdb.connect() as con:
        query = database(con, "tiny")
        con.execute("update tuning_method set title = ? where method_id = 'lora'", [name])
        con.execute("update task set title = left(? || task_id, 2000000)", [name])
        con.execute("update run set run_id = run_id")
        file = tmp_path / "hostile.html"
        file.write_text(render_page(query, title=name), encoding="utf-8")
    assert file.stat().st_size < 5_000_000
    page = opened(file, 390)
    assert "<img src=x" in page.locator("h1").inner_text()
    assert page.locator("main img").count() == 0
    assert page.locator("#ranking svg text", has_text="<img src=x").count() == 1
    page.locator("#ranking .mark-symbol path").nth(1).hover(force=True)
    page.locator("#vg-tooltip-element.visible").wait_for()
    assert page.locator("#vg-tooltip-element img").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.watch.errors == []  # type: ignore[attr-defined]
    assert page.watch.left() == []  # type: ignore[attr-defined]


@pytest.mark.promise("every chart is drawn, readable and offline")
@pytest.mark.parametrize("which", ["tiny", "paper", "demo", "tokens"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    files: dict[str, Path], fitted: dict[str, Path], opened: Open, axe: str, which: str, scheme: str
) -> None:
    page = opened((files | fitted)[which], scheme=scheme)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    page.evaluate(axe)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        (one["id"], one["help"], [node["html"][:120] for node in one["nodes"][:3]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
    assert len(found["passes"]) > 10


def test_the_keyboard_reaches_everything(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the summary"
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))
    assert {"A", "BUTTON", "SUMMARY"} <= reached


@pytest.mark.promise("every chart is drawn, readable and offline")
def test_it_prints(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") + pdf.count(b"/Type/Page") > 3


def thousand_runs(con: duckdb.DuckDBPyConnection) -> None:
    """1,000 runs of 200 evaluations each, two splits."""
    synthetic.create(con)
    synthetic.fill(con, seeds=1)
    con.execute("""
        insert into run (run_id, origin, model_id, method_id, dataset_id, seed, n_params, n_trainable)
        select 'bulk' || i, 'measured', m.model_id, t.method_id, 'tiny@5f2c', 100 + i, m.n_params, m.n_params // 10
        from range(1000) r(i)
        join (select *, row_number() over (order by n_params) - 1 as k from base_model) m on m.k = i % 4
        join (select *, row_number() over (order by method_id) - 1 as k from tuning_method) t on t.k = (i // 4) % 7""")
    con.execute("""insert into attempt (run_id, attempt, state, finished_at, device_seconds, load_key)
        select run_id, 1, 'done', timestamp '2026-01-06', 10, 10000 + seed from run where run_id like 'bulk%'""")
    con.execute("""
        insert into loss_point (run_id, attempt, split, step, n_tokens, loss_nats, load_key)
        select run_id, 1, split, step, step * 512, 4 + exp(-step / 60.0) + seed / 10000.0 - ln(n_params) / 20,
            10000 + seed
        from run, range(1, 201) s(step), (values ('test'), ('train')) p(split) where run_id like 'bulk%'""")
    con.execute("""
        insert into loss_summary
        select run_id, attempt, split, count(*), max(step), arg_max(loss_nats, step), min(loss_nats), min(loss_nats)
        from loss_point where run_id like 'bulk%' group by run_id, attempt, split""")


@pytest.mark.promise("a thousand runs open in seconds")
def test_a_thousand_runs_open_in_three_seconds(tmp_path: Path, opened: Open) -> None:
    with duckdb.connect() as con:
        thousand_runs(con)
        assert con.execute("select count(*) from loss_point where run_id like 'bulk%'").fetchall() == [(400_000,)]
        file = tmp_path / "thousand.html"
        file.write_text(render_page(synthetic.answers(con)), encoding="utf-8")
    assert file.stat().st_size < 5_000_000
    page = opened(file)
    times = []
    for _ in range(3):
        start = time.perf_counter()
        page.goto(file.as_uri())
        times.append(time.perf_counter() - start)
    ready(page)
    assert min(times) < 3
    assert "runs" in page.locator("header").inner_text()
