"""The page's first words: who is projected to win, and what speaks against it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

import duckdb
import pytest

from astraios.report.page import render_page
from astraios.report.runs import runs
from astraios.report.study import choose, fit_state
from astraios.report.summary import summary
from astraios.report.theme import chance, percent

from . import synthetic


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection, seeds=1)
        yield connection


def said(con: duckdb.DuckDBPyConnection) -> dict[str, str]:
    def query(sql: str):  # type: ignore[no-untyped-def]
        return con.sql(sql).pl()

    return dict(summary(query, choose(query)))


def test_a_backtest_that_holds_tempers_nothing(con: duckdb.DuckDBPyConnection) -> None:
    assert "with care" not in said(con)["What wins"]


def test_a_backtest_beaten_by_carrying_forward_tempers_the_headline(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("update backtest set relative_error = 0.2 where quantity = 'loss'")
    assert "FFT is projected to have the lowest test loss" in said(con)["What wins"]
    assert (
        "in the backtest the projection was further off than carrying the last size forward." in said(con)["What wins"]
    )


def test_bad_coverage_tempers_the_headline(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("update backtest set covered = method_id in ('fft', 'lora') where quantity = 'loss'")
    assert "only 2 of 7 observations lay in their 90% intervals" in said(con)["What wins"]


def test_one_miss_of_seven_is_what_a_level_of_90_promises(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("update backtest set covered = method_id <> 'fft' where quantity = 'loss'")
    assert "with care" not in said(con)["What wins"]


def test_a_study_of_scores_has_a_projected_winner(con: duckdb.DuckDBPyConnection) -> None:
    con.execute("delete from projection where quantity = 'loss'")
    con.execute("update projection set task_id = 'mean', metric = 'mean_score' where task_id = 'next-token'")
    con.execute("""update projection set p_best = case method_id when 'fft' then 0.999 else 0.0 end
        where task_id = 'mean'""")
    con.execute("update fit set task_id = 'mean', metric = 'mean_score' where task_id = 'next-token'")
    words = said(con)
    assert words["What wins"].startswith("At 3.4M parameters FFT is projected to have the highest mean score, ")
    assert "FFT is the best by mean score with a probability of >99%" in words["How sure"]


def test_single_timings_are_called_so(con: duckdb.DuckDBPyConnection) -> None:
    assert "single timing" in said(con)["What it costs"]


def test_warnings_stand_beside_the_projection_they_belong_to(con: duckdb.DuckDBPyConnection) -> None:
    page = render_page(synthetic.answers(con))
    ranking = page[page.index('<figure id="ranking"') :]
    ranking = ranking[: ranking.index("</figure>")]
    assert "7 warnings of the fits" in ranking
    assert "fft: too few sizes" in ranking[: ranking.index('class="chart"')]
    loss = page[page.index('<figure id="final-loss"') :]
    assert "too few sizes" not in loss[: loss.index("</figure>")]


def test_a_stale_fit_looks_stale_and_so_does_a_table_made_of_it(con: duckdb.DuckDBPyConnection) -> None:
    page = render_page(synthetic.answers(con))
    study = choose(synthetic.answers(con))
    assert study is not None
    assert fit_state(synthetic.answers(con), replace(study)).warning
    for name in ("ranking", "projection-loss", "table-next-runs"):
        assert re.search(rf'<figure id="{name}" class="[^"]*is-stale', page), name
    assert page.count('<span class="badge">stale</span>') >= 3
    assert '<figure id="final-loss" class="">' in page


def test_every_run_behind_the_charts_has_a_row(con: duckdb.DuckDBPyConnection) -> None:
    study = choose(synthetic.answers(con))
    assert study is not None
    frame = runs(synthetic.answers(con), study)
    assert frame["run_id"].n_unique() == frame.height == 28
    assert frame["test_loss"].null_count() == 0


@pytest.mark.parametrize(
    ("p", "text"), [(1.0, ">99%"), (0.996, ">99%"), (0.99, "99%"), (0.5, "50%"), (0.004, "<1%"), (0.0, "<1%")]
)
def test_a_probability_is_never_certain(p: float, text: str) -> None:
    assert chance(p) == text


@pytest.mark.parametrize(("x", "text"), [(0.06, "6.0%"), (0.0996, "10%"), (0.0, "0%"), (0.0000012, "0.00012%")])
def test_per_cent_keeps_two_digits(x: float, text: str) -> None:
    assert percent(x) == text
