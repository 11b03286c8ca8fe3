"""The page as text: self-contained, complete, and safe with whatever a database holds."""

from __future__ import annotations

import json
import re

import duckdb
import polars as pl
import pytest

from astraios.report.base import FIGURES, TABLES
from astraios.report.page import embed, render_page
from astraios.report.study import choose, studies

from . import synthetic
from .conftest import Query


@pytest.fixture(scope="module")
def page(query: Query) -> str:
    return render_page(query, title="The tiny ladder")


def script(page: str, name: str) -> object:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.DOTALL)
    assert found, name
    return json.loads(found[1])


def test_nothing_is_fetched(page: str) -> None:
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#|data:)""", own)
    import html

    policy = html.unescape(page)
    assert "default-src 'none'" in policy
    assert "connect-src 'none'" in policy


def test_vega_is_there_once(page: str) -> None:
    assert page.count("window.vegaEmbed=") == 1
    assert len(page) < 3_000_000


def test_the_rows_of_a_chart_are_those_of_the_database(page: str, con: duckdb.DuckDBPyConnection) -> None:
    shown = script(page, "final-loss-rows")
    frame = pl.DataFrame(shown["rows"], schema=shown["columns"], orient="row")  # type: ignore[index]
    for method, n, loss in con.execute(
        "select method_id, n_params, avg(loss_nats) from final_loss where split = 'test' group by all"
    ).fetchall():
        here = frame.filter(method_id=method, n_params=n, split="test loss")
        assert here["loss_nats"].to_list() == [pytest.approx(loss, abs=1e-12)]


def test_the_summary_says_what_wins_and_how_sure(page: str) -> None:
    summary = page[page.index('id="summary"') : page.index("<nav")]
    assert "FFT is projected to have the lowest test loss" in summary
    assert "FFT is the best with a probability of 97%" in summary
    assert "7 of 7 observations lay in their 90% intervals" in summary


def test_methods_that_can_not_be_told_apart_are_named() -> None:
    with duckdb.connect() as con:
        synthetic.create(con)
        synthetic.fill(con, seeds=1)
        con.execute(
            "update projection set p_best = case method_id when 'fft' then 0.6 when 'lora' then 0.35 else 0.01 end"
        )
        page = render_page(synthetic.answers(con))
    assert "FFT and LoRA can&#39;t be told apart by projected test loss" in page
    assert "not separable" in page


def test_an_empty_database_says_what_to_run(empty_query: Query) -> None:
    page = render_page(empty_query)
    assert "run astraios collect" in page
    assert 'class="chart"' not in page
    for thing in [*FIGURES, *TABLES]:
        assert re.search(r"\b(run|import|score)\b", thing.missing), thing.name


def test_every_chart_has_a_text_its_sql_and_its_data(page: str) -> None:
    charts = re.findall(r'<div class="chart"[^>]* data-spec="([\w-]+)-spec" data-alt="([^"]+)"', page)
    assert len(charts) >= 9
    for name, alt in charts:
        assert len(alt) > 60
        assert script(page, f"{name}-rows")["rows"]  # type: ignore[index, call-overload]
        part = page[page.index(f'<figure id="{name}"') :]
        assert "select" in part[part.index("<pre") : part.index("</pre>")]


def test_the_sql_that_is_shown_runs_and_gives_what_is_shown(page: str, query: Query) -> None:
    import html

    for name in re.findall(r'<figure id="([\w-]+)"', page):
        part = page[page.index(f'<figure id="{name}"') :]
        sql = html.unescape(part[part.index("<pre") : part.index("</pre>")].split(">", 1)[1])
        assert query(sql).height == len(script(page, f"{name}-rows")["rows"])  # type: ignore[index, call-overload]


def test_two_studies_are_drawn_apart() -> None:
    with duckdb.connect() as con:
        synthetic.create(con)
        synthetic.fill(con, seeds=1)
        con.execute("""insert into run (run_id, origin, model_id, method_id, n_params, seed)
            values ('other', 'imported', 'gpt-x', 'lora', 1000000, 0)""")
        con.execute("insert into attempt (run_id, attempt, state) values ('other', 1, 'done')")
        con.execute("insert into loss_summary values ('other', 1, 'test', 1, 200, 2.5, 2.5, 2.5)")
        query = synthetic.answers(con)
        known = studies(query)
        page = render_page(query)
        second = choose(query, "gpt-x")
    assert [study.origin for study in known] == ["measured", "imported"]
    assert second is not None
    assert second.n_runs == 1
    rows = script(page, "final-loss-rows")["rows"]  # type: ignore[index, call-overload]
    assert len(rows) == 56
    assert len(script(page, "study-1-final-loss-rows")["rows"]) == 1  # type: ignore[index, call-overload]


def test_a_hostile_name_stays_text() -> None:
    name = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`${x}" + "A" * 1_000_000
    with duckdb.connect() as con:
        synthetic.create(con)
        synthetic.fill(con, seeds=1)
        con.execute("update tuning_method set title = ? where method_id = 'lora'", [name])
        con.execute("update task set title = ?", [name])
        page = render_page(synthetic.answers(con), title=name)
    assert len(page) < 3_000_000
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.parametrize("text", ["</script>", "<!--", "\u2028", "&lt;", 'a"b', "'"])
def test_embedded_json_survives_and_holds_no_markup(text: str) -> None:
    shown = embed({"name": text})
    assert json.loads(shown)["name"] == text
    assert "<" not in shown
