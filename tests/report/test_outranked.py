"""Runs at a beaten learning rate or with less data: no chart of measured runs averages them in."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from astraios.report.base import FIGURES
from astraios.report.draw import draw
from astraios.report.page import render_page
from astraios.report.study import choose
from astraios.report.summary import summary

from . import synthetic
from .conftest import Query

WORSE = {
    # mark of the run: learning rate, tokens, what is added to the loss, splits that have one
    "b": (0.01, 102_400, 0.5, ("test", "train")),
    "c": (0.003, 51_200, 0.2, ("test", "train")),
    "d": (0.02, 102_400, -0.9, ("train",)),
    "e": (0.003, 25_600, 0.0, ()),
}


@pytest.fixture(scope="module")
def swept() -> Iterator[Query]:
    """The tiny ladder once as it is, and again at worse rates and with less data."""
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection, fits=False)
        connection.execute("update run set learning_rate = 0.003")
        tables = ("run", "attempt", "loss_point", "loss_summary", "evaluation", "score")
        first = {table: connection.sql(f"select * from {table}").pl() for table in tables}
        for i, (mark, (rate, tokens, more, splits)) in enumerate(WORSE.items(), 1):
            changes = {
                "run": {"learning_rate": pl.lit(rate), "n_tokens": pl.lit(tokens)},
                "attempt": {"load_key": pl.col("load_key") + 1000 * i, "device_seconds": pl.col("device_seconds") * 9},
                "loss_point": {"load_key": pl.col("load_key") + 1000 * i, "loss_nats": pl.col("loss_nats") + more},
                "loss_summary": {"last_loss": pl.col("last_loss") + more},
                "score": {"value": pl.col("value") / 2},
            }
            for table in tables:
                rows = first[table].with_columns(pl.col("run_id") + mark, **changes.get(table, {}))
                if "split" in rows.columns:
                    rows = rows.filter(pl.col("split").is_in(splits))
                connection.execute(f"insert into {table} by name select * from rows")
        yield synthetic.answers(connection)


@pytest.fixture(scope="module")
def once() -> Iterator[Query]:
    """The same ladder as it is."""
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection, fits=False)
        yield synthetic.answers(connection)


def test_the_view_names_the_outranked_runs(swept: Query) -> None:
    runs = swept("select run_id, shown_learning_rate, shown_n_tokens from outranked_run")
    every = swept("from run")
    assert set(runs["run_id"]) == {run for run in every["run_id"] if run[-1] in WORSE and len(run) == 13}
    assert runs["shown_learning_rate"].unique().to_list() == [0.003]
    assert runs["shown_n_tokens"].unique().to_list() == [102_400]


def test_a_ladder_of_one_rate_has_none(query: Query) -> None:
    assert query("from outranked_run").is_empty()
    study = choose(query)
    assert study
    assert study.left_out == ""


ALL_RATES = ("failure-curve", "failure-loss")
"""Figures with a line for each rate."""


@pytest.mark.parametrize("name", [figure.name for figure in FIGURES if figure.name not in ALL_RATES])
def test_no_figure_averages_them_in(name: str, swept: Query, once: Query) -> None:
    figure = next(figure for figure in FIGURES if figure.name == name)
    study = choose(swept)
    assert study
    drawn = draw(figure, swept, study)
    alone = draw(figure, once, choose(once))
    assert drawn.seeds == alone.seeds
    for column in ("loss_nats", "value", "mean_score", "device_seconds", "n_seeds"):
        if column in alone.frame.columns:
            assert sorted(drawn.frame[column].drop_nulls()) == pytest.approx(sorted(alone.frame[column].drop_nulls()))


@pytest.mark.parametrize("name", ALL_RATES)
def test_figures_of_rates_draw_each_by_itself(name: str, swept: Query) -> None:
    """One line a series and rate, of the most data: no point stands for two rates or two amounts."""
    drawn = draw(next(figure for figure in FIGURES if figure.name == name), swept, choose(swept)).frame
    point = [column for column in ("method_id", "n_params", "step") if column in drawn.columns]
    assert drawn.height == drawn.select(point).n_unique()
    assert drawn["learning_rate"].n_unique() > 1
    assert set(drawn["n_seeds"]) <= {1, 3}


def test_the_page_says_what_is_left_out(swept: Query) -> None:
    study = choose(swept)
    assert study
    n = swept("from run").height
    assert f"{n * len(WORSE) // (len(WORSE) + 1)} of the {n} runs are outranked (view outranked_run)" in study.left_out
    assert study.left_out in re.sub(r"\s+", " ", render_page(swept))
    assert "at 850k" in str(summary(swept, study)).lower()


def test_correlations_take_the_same_runs(swept: Query, once: Query) -> None:
    pairs = "select n_params, method_id, x, y, a, b from correlation_pair order by all"
    assert_frame_equal(swept(pairs), once(pairs))


@pytest.fixture(scope="module")
def of_scores() -> Iterator[Query]:
    """The tiny ladder once as it is and again at a worse rate, with scores and no losses."""
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection, fits=False)
        for table in ("loss_point", "loss_summary"):
            connection.execute(f"delete from {table}")
        connection.execute("update run set learning_rate = 0.003")
        for table in ("run", "attempt", "evaluation", "score"):
            frame = connection.sql(f"select * from {table}").pl().with_columns(pl.col("run_id") + "b")  # noqa: F841
            connection.execute(f"insert into {table} by name select * from frame")
        connection.execute("update run set learning_rate = 0.01 where run_id like '%b' and length(run_id) = 13")
        connection.execute("update score set value = value / 2 where run_id like '%b' and length(run_id) = 13")
        connection.execute("update attempt set load_key = load_key + 1000 where length(run_id) = 13")
        yield synthetic.answers(connection)


@pytest.mark.parametrize("name", ["mean-score", "task-score"])
def test_rates_that_no_loss_ranks_are_not_averaged(name: str, of_scores: Query, once: Query) -> None:
    """Each rate has a line of its own: the better one's values are those of the ladder by itself."""
    figure = next(figure for figure in FIGURES if figure.name == name)
    study = choose(of_scores)
    assert study
    drawn = draw(figure, of_scores, study).frame
    alone = draw(figure, once, choose(once)).frame
    value = "mean_score" if name == "mean-score" else "value"
    assert {method.rpartition(" ")[2] for method in drawn["method_id"]} == {"lr=0.003", "lr=0.01"}
    assert drawn.height == 2 * alone.height
    better = drawn.filter(pl.col("method_id").str.ends_with("lr=0.003"))
    assert sorted(better[value]) == pytest.approx(sorted(alone[value]))
    assert set(drawn["n_seeds"]) == set(alone["n_seeds"])
    assert "each rate is a series of its own" in re.sub(r"\s+", " ", render_page(of_scores))
