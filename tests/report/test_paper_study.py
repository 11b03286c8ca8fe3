"""The paper's figures and tables from one's own runs: score rankings, rates, cost, security, robustness."""

from __future__ import annotations

import math
from collections.abc import Iterator

import duckdb
import pytest

from astraios.report.base import find_figure, find_table
from astraios.report.draw import draw
from astraios.report.layout import lay_out, to_markdown
from astraios.report.study import choose
from astraios.report.summary import summary

from . import synthetic
from .conftest import Query


@pytest.fixture
def own() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own for each test, which may change it."""
    with duckdb.connect() as connection:
        synthetic.create(connection)
        synthetic.fill(connection)
        yield connection


def asking(connection: duckdb.DuckDBPyConnection) -> Query:
    return lambda sql: connection.sql(sql).pl()


@pytest.mark.promise("a ranking of scores is drawn where no losses are projected")
def test_rankings_of_scores_are_drawn(own: duckdb.DuckDBPyConnection) -> None:
    """Without projected losses the mean score ranks: highest first, crossings upwards, and words that say so."""
    own.execute("delete from projection")
    means = {"fft": (0.30, 0.50), "lora": (0.35, 0.40), "ia3": (0.10, 0.11)}
    for method, values in means.items():
        for size, value, p in zip((850_000, 3_400_000), values, (0.2, 0.6 if method == "fft" else 0.2), strict=True):
            own.execute(
                "insert into projection by name select ? as fit_id, 'target' as role, 'score' as quantity, "
                "? as method_id, 'mean' as task_id, 'mean_score' as metric, ?::double as n_params, ?::double as mean, "
                "?::double as low, ?::double as high, 0.9 as level, ?::double as p_best",
                [synthetic.run_id("link", "mutant"), method, size, value, value - 0.01, value + 0.01, p],
            )
    query = asking(own)
    study = choose(query)
    ranked = draw(find_figure("ranking"), query, study)
    assert ranked.spec is not None
    assert ranked.frame["method_id"].to_list() == ["fft", "lora", "ia3"]
    assert "projected mean score at 3.4M" in str(ranked.spec)
    assert "probability of the highest mean score" in str(draw(find_figure("p-best"), query, study).spec)
    crossed = draw(find_figure("crossings"), query, study).frame
    assert crossed.select("before", "after").rows() == [("LoRA", "FFT")]
    assert 850_000 < crossed["n_params"][0] < 3_400_000
    words = dict(summary(query, study))["What wins"]
    assert "can't be told apart by projected mean score" in words


@pytest.mark.promise("cost at the target is projected, and a single timing says so")
def test_cost_is_that_of_the_target(own: duckdb.DuckDBPyConnection) -> None:
    """Operations grow with the size, the rate is the largest size's; the interval comes from its repeats."""
    query = asking(own)
    frame = draw(find_figure("cost-performance"), query, choose(query)).frame
    rows = {row["method_id"]: row for row in frame.iter_rows(named=True)}
    for row in rows.values():
        assert row["device_seconds"] == pytest.approx(row["measured_seconds"] * row["n_params"] / row["timed_n_params"])
    one, three = rows["ia3"], rows["fft"]
    assert (one["n_timings"], one["seconds_low"]) == (1, None)
    assert three["n_timings"] == 3
    own.execute("update attempt set device_seconds = device_seconds * (1 + 0.1 * (load_key % 3))")
    again = draw(find_figure("cost-performance"), query, choose(query)).frame
    row = next(row for row in again.iter_rows(named=True) if row["method_id"] == "fft")
    seconds = own.sql(
        "select device_seconds from attempt join run using (run_id) where method_id = 'fft' and n_params = 850000"
    ).fetchall()
    logs = [math.log(value) for (value,) in seconds]
    middle = sum(logs) / 3
    spread = math.sqrt(sum((value - middle) ** 2 for value in logs) / 2)
    half = 2.920 * spread * math.sqrt(1 + 1 / 3)
    assert row["seconds_high"] == pytest.approx(math.exp(middle + half) * 4)
    figure = find_figure("cost-performance")
    assert f"{again['method'][again['n_timings'].to_list().index(1)]} *" in str(draw(figure, query, choose(query)).spec)
    assert "a star marks a single timing" in figure.caption


@pytest.mark.promise("every learning rate that was tried is shown, with the one that wins at each size")
def test_learning_rates_are_told_apart(own: duckdb.DuckDBPyConnection) -> None:
    """Charts of runs show the best rate; figures 10 and 11 and the table all of them, regularizer apart."""
    own.execute("update run set method_id = 'adalora', learning_rate = 1e-4 where method_id = 'ia3'")
    own.execute(
        "insert into tuning_method by name select 'adalora' as method_id, 'AdaLoRA' as title, 'low-rank' as kind"
    )
    for table in ("run", "attempt", "loss_summary", "loss_point"):
        key = ", load_key + 1000 as load_key" if table in ("attempt", "loss_point") else ""
        rate = ", 1e-3 as learning_rate" if table == "run" else ""
        own.execute(
            f"insert into {table} by name select * replace (run_id || 'b' as run_id{key}{rate}) from {table} "
            "where run_id in (select run_id from run where method_id = 'adalora' and learning_rate = 1e-4)"
        )
    better = "(select run_id from run where learning_rate = 1e-3)"
    own.execute(f"update loss_summary set last_loss = last_loss - 0.5 where run_id in {better}")
    own.execute(f"update loss_point set regularizer = 0.25 where run_id in {better} and split = 'train'")
    query = asking(own)
    study = choose(query)
    final = draw(find_figure("final-loss"), query, study).frame.filter(method_id="adalora", split="test loss")
    assert final.height == 4, "the better rate alone"
    lines = draw(find_figure(11), query, study)
    assert {"AdaLoRA at 0.0001", "AdaLoRA at 0.001"} <= set(lines.frame["method"])
    assert lines.spec is not None
    assert {"adalora 0.0001", "adalora 0.001"} <= set(draw(find_figure(10), query, study).frame["method_id"])
    table = find_table("learning-rates")
    assert study is not None
    laid = lay_out(table, query(study.select(table.sql)))
    [(name, rows)] = laid.blocks
    assert (name, [row for row, _ in rows]) == ("AdaLoRA", ["0.0001", "0.001"])
    worse, best = (dict(rows)[rate] for rate in ("0.0001", "0.001"))
    assert [cell.place for cell in best[:4]] == [1] * 4
    assert [cell.place for cell in worse[:4]] == [2] * 4
    assert [cell.text for cell in best[4:]] == ["0.250"] * 4


def add_scores(connection: duckdb.DuckDBPyConnection, scores: dict[tuple[str, str], float], n: int = 164) -> None:
    for (task, metric), value in scores.items():
        connection.execute(
            "insert into score by name select run_id, 1 as attempt, ? as task_id, 0 as n_shot, ? as metric, "
            "?::double as value, ?::integer as n, 0 as n_failed from run where method_id = 'lora' and seed = 0",
            [task, metric, value, n],
        )


@pytest.mark.promise("robust change comes from one's own nominal HumanEval")
def test_robust_change_is_worked_out_from_the_nominal_score(own: duckdb.DuckDBPyConnection) -> None:
    add_scores(own, {("recode-format", "robust_pass@1"): 0.3, ("recode-syntax", "robust_pass@1"): 0.1})
    query = asking(own)
    assert draw(find_figure(7), query, choose(query)).spec is None, "no nominal, no change"
    add_scores(own, {("humaneval", "pass@1"): 0.25})
    drawn = draw(find_figure(7), query, choose(query))
    assert drawn.frame["robust_change"].to_list() == pytest.approx([(0.05 + 0.15) / 2] * 4)
    add_scores(own, {("recode-format", "robust_change@1"): 0.2})
    again = draw(find_figure(7), query, choose(query)).frame
    assert again["robust_change"].to_list() == pytest.approx([(0.2 + 0.15) / 2] * 4), "what was stored counts"


@pytest.mark.promise("findings of another analyser than the paper's have a column of their own")
def test_the_fallback_has_a_column_with_its_name_and_coverage(own: duckdb.DuckDBPyConnection) -> None:
    add_scores(own, {("aatk", "valid"): 0.8, ("aatk", "insecure_fallback"): 0.3}, 40)
    own.execute(
        "insert into evaluation by name select run_id, 1 as attempt, 'aatk' as task_id, 0 as n_shot, "
        "?::json as settings from run where method_id = 'lora' and seed = 0",
        ['{"analyser": "patterns + gcc (partial)", "coverage": {"CWE-78": "patterns", "CWE-79": "none"}}'],
    )
    query = asking(own)
    table = find_table(5)
    text = to_markdown(lay_out(table, query(table.sql)))
    assert "Insecure % ↓ (fallback)" in text
    assert "30.0" in text
    assert "by patterns + gcc (partial), not the paper's CodeQL" in text
    assert "It sees a part of CWE-78, and of the others nothing" in text


def test_artifacts_are_what_the_database_knows_of_checkpoints(own: duckdb.DuckDBPyConnection) -> None:
    own.execute("update attempt set directory = 'runs/' || run_id, checkpoint_bytes = 1234567")
    query = asking(own)
    table = find_table(6)
    text = to_markdown(lay_out(table, query(table.sql)))
    assert "| Base models | tiny/32 |" in text
    assert "1,234,567" in text
    assert f"runs/{synthetic.run_id('lora', 'tiny/32', 0)}" in text
    assert "LoRA, tiny/32, seed 1" in text
