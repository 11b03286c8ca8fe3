"""What a reader meets on any screen: names that lie on nothing, tables that say they go on, series to switch, print."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import Open, ready

WIDTHS = (390, 768, 1280)
OVERLAPS = """() => {
  const found = [];
  const gap = (a, b) => [Math.min(a.right, b.right) - Math.max(a.left, b.left),
                         Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)];
  for (const box of document.querySelectorAll('.chart')) {
    const svg = box.querySelector('svg'), room = svg.getBoundingClientRect();
    const name = box.dataset.spec, texts = new Map();
    for (const text of svg.querySelectorAll('text')) {
      const r = text.getBoundingClientRect();  // a halo has the text and the place of its label
      if (text.textContent.trim() && text.getAttribute('opacity') !== '0')
        texts.set(`${text.textContent} ${Math.round(r.x)} ${Math.round(r.y)}`, [text.textContent, r]);
    }
    const all = [...texts.values()];
    all.forEach(([said, a], i) => {
      if (a.right > room.right + 1 || a.left < room.left - 1 || a.top < room.top - 1 || a.bottom > room.bottom + 1)
        found.push(`${name}: "${said}" is cut`);
      for (const [other, b] of all.slice(i + 1)) {
        const [w, h] = gap(a, b);
        if (w > 0.5 && h > 2.5) found.push(`${name}: "${said}" on "${other}"`);
        if (w > -3 && w <= 0.5 && h > 6) found.push(`${name}: "${said}" touches "${other}"`);
      }
      for (const mark of svg.querySelectorAll('.mark-symbol.role-mark path')) {
        const ink = { left: a.left, right: a.right, top: a.top + 2, bottom: a.bottom - 2 };
        const [w, h] = gap(ink, mark.getBoundingClientRect());
        if (w > 1.5 && h > 1.5) found.push(`${name}: "${said}" on a mark`);
      }
    });
  }
  return found;
}"""


@pytest.mark.promise("every chart is drawn, readable and offline")
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("which", ["tiny", "paper", "demo", "published", "tokens"])
def test_no_label_lies_on_another_or_on_a_mark(
    files: dict[str, Path], fitted: dict[str, Path], opened: Open, which: str, width: int
) -> None:
    page = opened((files | fitted)[which], width)
    assert page.locator(".chart svg text").count() > 20
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_table_that_goes_on_says_so(files: dict[str, Path], opened: Open, scheme: str) -> None:
    page = opened(files["paper"], 390, scheme)
    tables = page.evaluate(
        """() => [...document.querySelectorAll('.card > .scroll')].map(box => [
            box.scrollWidth > box.clientWidth + 1, getComputedStyle(box, '::before').content,
            getComputedStyle(box.querySelector('tbody th[scope=row]')).position])"""
    )
    cut = [(said, where) for wide, said, where in tables if wide]
    assert len(cut) >= 5
    assert all("Scroll sideways" in said and where == "sticky" for said, where in cut)
    assert all(said == "none" for wide, said, _ in tables if not wide)


@pytest.mark.promise("the page answers its reader")
def test_a_series_is_switched_in_all_charts_by_keyboard(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    with_lora = """() => [...document.querySelectorAll('.chart svg')]
        .filter(chart => [...chart.querySelectorAll('text')].some(text => /^LoRA/.test(text.textContent))).length"""
    before = page.evaluate(with_lora)
    charts = page.locator(".chart svg").count()
    assert before > 10
    page.locator("#series summary").focus()
    page.keyboard.press("Enter")
    page.get_by_label("LoRA", exact=True).focus()
    page.keyboard.press("Space")
    ready(page)
    assert page.evaluate(with_lora) == 0
    assert "8 of 9 shown" in page.locator("#series-said").inner_text()
    assert page.locator(".chart svg").count() == charts
    page.get_by_role("button", name="Show all").click()
    ready(page)
    assert page.evaluate(with_lora) == before
    assert page.watch.errors == []  # type: ignore[attr-defined]


def test_a_chart_whose_series_are_all_off_says_so(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    page.locator("#series summary").click()
    for box in page.locator("#series input").all():
        box.uncheck()
    ready(page)
    assert page.locator("#final-loss .chart").inner_text() == "Every series of this chart is switched off."
    assert page.watch.errors == []  # type: ignore[attr-defined]


@pytest.mark.promise("the page answers its reader")
def test_a_point_names_its_runs_and_leads_to_them(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    rows = page.evaluate("JSON.parse(document.getElementById('study-0-runs-rows').textContent)")
    runs = {row[0] for row in rows["rows"]}
    point = page.locator("#final-loss .mark-symbol path").first
    point.hover(force=True)
    tooltip = page.locator("#vg-tooltip-element.visible")
    tooltip.wait_for()
    said = tooltip.inner_text().split()
    named = {word.strip(",") for word in said} & runs
    assert len(named) in (1, 3)
    point.click(force=True)
    assert set(page.evaluate("[...document.querySelectorAll('tr.found')].map(r => r.id.slice(4))")) == named
    assert page.locator("tr.found").first.is_visible()


def test_a_link_to_a_run_opens_its_row(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["tiny"])
    run_id = page.evaluate("JSON.parse(document.getElementById('study-0-runs-rows').textContent).rows[7][0]")
    page.goto(f"{files['tiny'].as_uri()}#run-{run_id}")
    page.locator(f"#run-{run_id}").wait_for()
    assert page.locator("tr.found").get_attribute("id") == f"run-{run_id}"


@pytest.mark.promise("every chart is drawn, readable and offline")
def test_print_is_light_and_cuts_nothing(files: dict[str, Path], opened: Open) -> None:
    page = opened(files["paper"], 1280, "dark")
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 700, "height": 990})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert "invert" in page.evaluate("getComputedStyle(document.querySelector('.chart svg')).filter")
    shown = "[...document.querySelectorAll('button, nav, .tools, #series')].filter(e => e.offsetParent).length"
    assert page.evaluate(shown) == 0
    cut = page.evaluate(
        """() => [...document.querySelectorAll('figure .scroll > table, .chart > svg, .chart svg')]
            .filter(e => e.offsetParent || e.tagName === 'svg')
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .map(e => e.closest('figure').id)"""
    )
    assert cut == []
