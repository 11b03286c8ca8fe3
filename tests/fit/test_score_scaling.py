"""Scores projected from size alone: on made-up scores whose truth is known, and on the paper's published tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from astraios import store
from astraios.errors import DataError, FitError, UsageError
from astraios.fit.correlation import correlate
from astraios.fit.links import LINKS
from astraios.fit.scores import by_size
from astraios.fit.scores.data import read_scores
from tests.conftest import assert_one_line, run_cli
from tests.fit.analysing import analyse_scores

SIZES = (1e6, 3e6, 1e7, 3e7)


def made(
    rng: np.random.Generator, methods: int = 6, items: int = 500, sizes: tuple[float, ...] = SIZES
) -> pl.DataFrame:
    """Scores logistic in log size from a chance of 0.25, methods alike, binomial noise."""
    rows = []
    a, b = rng.normal(-1, 0.5), rng.uniform(0.3, 0.8)
    for m in range(methods):
        shift, slope = a + rng.normal(0, 0.2), b * np.exp(rng.normal(0, 0.1))
        for n in sizes:
            truth = 0.25 + 0.75 / (1 + np.exp(-(shift + slope * np.log(n / 3e6))))
            value = rng.binomial(items, truth) / items
            rows.append({"method_id": f"m{m}", "run_id": f"m{m}-{n:.0f}", "n_params": n, "task_id": "choice",
                         "metric": "accuracy", "value": value, "n": items, "chance": 0.25, "ceiling": 1.0,
                         "higher_is_better": True})  # fmt: skip
    return pl.DataFrame(rows)


def test_hidden_scores_of_known_curves_are_covered() -> None:
    covered, errors, carried = [], [], []
    for seed in range(15):
        found = analyse_scores(made(np.random.default_rng(seed)))
        for p in found.of("backtest"):
            assert p.low <= p.mean <= p.high
            covered.append(p.covered)
            errors.append(p.relative_error)
            carried.append(p.carry_forward_error)
    assert 0.85 <= float(np.mean(np.array(covered, float))) <= 0.99
    assert float(np.mean(np.array(errors, float))) < 0.6 * float(np.mean(np.array(carried, float)))


def test_two_sizes_are_weighed_against_slopes_of_other_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few items and the luck of a base make steep slopes; nothing can be held out to tell."""

    def error() -> float:
        gaps = []
        for seed in range(20):
            rng = np.random.default_rng(seed)
            rows = made(rng, methods=1, items=60, sizes=(1e6, 3e6, 1e7))
            [data] = read_scores(rows, by_size=True)
            model = by_size.build(data.keep(data.log_size < np.log(9e6)))
            gaps.append(np.abs(model.point(float(np.log(1e7))) - data.value[data.log_size > np.log(9e6)]).mean())
        return float(np.mean(gaps))

    told = error()
    monkeypatch.setattr(by_size, "SLOPE", (0.0, 50.0))
    assert told < 0.9 * error()
    rows = made(np.random.default_rng(0), sizes=(1e6, 3e6)).with_columns(pl.col("value") * 40 - 7, ceiling=None)
    [rewards] = read_scores(rows.drop("n", "chance"), by_size=True)
    far = by_size.build(rewards).point(float(np.log(1e7)))
    monkeypatch.setattr(by_size, "SLOPE", (0.55, 0.5))
    assert by_size.build(rewards).point(float(np.log(1e7))) == pytest.approx(far), "no fraction has such a slope"


def test_a_score_that_does_not_move_stays_where_it_is() -> None:
    rng = np.random.default_rng(0)
    flat = made(rng).with_columns(value=pl.Series(0.25 + 0.01 * rng.standard_normal(24)))
    found = analyse_scores(flat, targets=[1e8])
    assert all(abs(p.mean - 0.25) < 0.03 for p in found.of("target"))


def test_same_seed_same_bits_and_any_order_of_rows() -> None:
    rows = made(np.random.default_rng(1))
    one, two = analyse_scores(rows, targets=[1e8]), analyse_scores(rows.sample(fraction=1, shuffle=True), targets=[1e8])
    assert json.dumps(one.to_json(), allow_nan=False) == json.dumps(two.to_json(), allow_nan=False)


def test_frames_fit_the_tables(tmp_path: Path) -> None:
    analysis, db = analyse_scores(made(np.random.default_rng(1)), targets=[1e8]), tmp_path / "a.duckdb"
    store.write_fits(db, [(analysis.fitted(), analysis.projections)])
    counts = {table: len(store.query(db, f"from {table}")) for table in store.fits.FIT_TABLES}
    assert (counts.pop("fit_draw"), counts.pop("fit_curve")) == (0, 0)
    assert all(counts.values())
    assert store.query(db, "select distinct split, loss_definition from fit").rows() == [(None, None)], "no losses"
    assert store.failed_checks(db) == {}


def test_what_cannot_be_projected_is_said() -> None:
    rows = made(np.random.default_rng(1))
    with pytest.raises(FitError, match="two sizes"):
        analyse_scores(rows.filter(pl.col("n_params") == 1e6))
    with pytest.raises(FitError, match="nothing to hide"):
        analyse_scores(rows, holdout=1e9)
    with pytest.raises(DataError, match="no column 'value'"):
        analyse_scores(rows.drop("value"))
    with pytest.raises(UsageError, match="level"):
        analyse_scores(rows, level=2)
    other = rows.head(1).with_columns(metric=pl.lit("other"))
    codes = [w.code for w in analyse_scores(pl.concat([rows, other]), targets=[1e12]).warnings]
    assert codes == ["too_few_scores", "far_extrapolation"]
    two = analyse_scores(rows.filter(pl.col("n_params") < 5e6))
    assert [w.code for w in two.warnings] == ["no_backtest"]


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the published tables and nothing else."""
    path = tmp_path_factory.mktemp("paper") / "paper.duckdb"
    run_cli("import", "paper", "--db", path)
    return path


@pytest.fixture(scope="module")
def projected(paper: Path) -> dict[str, Any]:
    """What `fit-scaling` says of that database, and has stored in it."""
    result = run_cli("fit-scaling", "--db", paper, "--json")
    assert result.returncode == 0, result.stderr
    content: dict[str, Any] = json.loads(result.stdout)
    return content


@pytest.mark.promise("the paper's scores are predicted, its correlations found")
def test_published_scores_at_16b_from_the_smaller_models(paper: Path, projected: dict[str, Any]) -> None:
    """Every method, task and metric has an interval and the truth beside it; errors beat carrying 7B forward."""
    rows = [(fit, p) for fit in projected["fits"] for p in fit["projections"] if p["role"] == "backtest"]
    printed = store.query(
        paper, "select * from final_score where metric not like '%released%' and n_params = 15517456384"
    )
    truth = {(r["method_id"], r["task_id"], r["metric"]): r["value"] for r in printed.iter_rows(named=True)}
    found = {(fit["group"], p["task_id"], p["metric"]): p for fit, p in rows}
    assert set(truth) <= set(found)
    assert len(truth) == 7 * 18
    for key, value in truth.items():
        p = found[key]
        assert p["n_params"] == 15_517_456_384
        assert p["observed"] == pytest.approx(value, abs=1e-9)
        assert p["new_low"] <= p["low"] + 0.05
        assert 0 <= p["new_low"] < p["new_high"] <= 1
    assert {key[1:] for key in set(found) - set(truth)} == {("mean", "mean_score")}
    inside = np.mean([p["new_low"] <= p["observed"] <= p["new_high"] for _, p in rows])
    assert projected["summary"]["coverage"] == pytest.approx(inside)
    assert projected["summary"]["n_backtest"] == 7 * 19
    assert 0.8 <= inside <= 0.97
    assert projected["summary"]["mean_absolute_error"] < projected["summary"]["mean_absolute_carry_forward_error"]
    stored = store.query(paper, "from latest_backtest where quantity = 'score'")
    assert len(stored) == 7 * 19
    assert len(store.query(paper, "from projection where role = 'target' and quantity = 'score'")) == 7 * 19
    assert store.query(paper, "select achieved from calibration")["achieved"][0] == pytest.approx(inside)
    shown = run_cli("fit-scaling", "--db", paper)
    assert f"coverage: {inside:.4f}" in shown.stderr
    assert len(store.query(paper, "from latest_backtest where quantity = 'score'")) == len(stored), "stored once"
    assert store.failed_checks(paper) == {}


@pytest.mark.promise("the paper's scores are predicted, its correlations found")
@pytest.mark.usefixtures("projected")
def test_correlations_from_printed_numbers_are_the_papers(paper: Path) -> None:
    """Appendix I, with p-values; and what the paper does not print is measured, with p-values, into the table."""
    cells = store.query(paper, "select s.mean_score, s.n_trainable from mean_task_score s order by all")
    for coefficient, value, p_value in (
        ("kendall", 0.3016, 0.02),
        ("pearson", 0.4128, 0.03),
        ("spearman", 0.4138, 0.03),
    ):
        found, p = correlate(cells["n_trainable"].to_list(), cells["mean_score"].to_list(), coefficient)
        assert found == pytest.approx(value, abs=5e-5)
        assert p == pytest.approx(p_value, abs=5.1e-3)
    rows = store.query(paper, "from correlation where source like 'measured%'")
    assert len(rows) == 4 * 3, "mean score by size; all else is printed"
    assert rows["p_value"].is_between(0, 1).all()
    shown = store.query(
        paper, "from correlations where y = 'mean_score' and x = 'n_trainable' and n_params is not null"
    )
    assert len(shown) == 12
    assert shown["p_value"].null_count() == 0


def test_published_scores_are_backtested_by_every_link(paper: Path) -> None:
    rows = pl.DataFrame(json.loads(run_cli("fit-scaling", "--db", paper, "--backtest", "--json").stdout))
    by_law = rows.group_by("law").agg(
        n=pl.len(),
        error=(pl.col("mean") - pl.col("observed")).abs().mean(),
        carried=(pl.col("carry_forward") - pl.col("observed")).abs().mean(),
        covered=pl.col("covered").mean(),
    )
    found = {row["law"]: row for row in by_law.iter_rows(named=True)}
    assert set(found) == {"auto", *LINKS.names()}
    assert all(row["n"] == 2 * 133 for row in found.values()), "7B from two sizes, 16B from three"
    best = found["auto"]
    assert best["error"] < 1.02 * min(row["error"] for row in found.values()), "no link alone is better by much"
    assert best["error"] < 0.75 * best["carried"]
    assert 0.85 < best["covered"] < 0.95
    assert len(store.query(paper, "select distinct law from calibration where quantity = 'score'")) == len(found)
    odd = run_cli("fit-scaling", "--db", paper, "--law", "sigmod")
    assert_one_line(odd, 2, "did you mean 'sigmoid'")
