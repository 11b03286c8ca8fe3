"""The analysis behind fit-scaling, on the tiny ladder."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from astraios import store
from astraios.errors import AstraiosError, DataError, FitError, UsageError
from astraios.fit.analysis import Analysis
from astraios.workflow.curves import with_curves
from tests.fit.analysing import analyse


@pytest.fixture(scope="module")
def analysis(tiny: pl.DataFrame, tiny_scores: pl.DataFrame) -> Analysis:
    return analyse(tiny, tiny_scores, targets=[3e6])


def test_backtest_beats_carrying_forward(analysis: Analysis) -> None:
    summary = analysis.summary
    assert summary["n_backtest"] == 7
    assert summary["mean_relative_error"] <= 0.01
    assert summary["mean_relative_error"] < summary["mean_carry_forward_error"]


def test_json_holds_what_scripts_rely_on(analysis: Analysis) -> None:
    document = json.loads(json.dumps(analysis.to_json(), allow_nan=False))
    assert set(document) == {"fits", "ranking", "warnings", "summary", "study", "axes", "optimum", "data_rule"}
    keys = {
        "role", "quantity", "task_id", "metric", "n_params", "n_tokens", "mean", "low", "high", "new_low", "new_high",
        "level", "observed", "relative_error",
    }  # fmt: skip
    assert len(document["fits"]) == 7
    for fit in document["fits"]:
        assert {"fit_id", "group", "law", "parameters", "objective", "warnings", "projections"} <= set(fit)
        assert {p["role"] for p in fit["projections"]} == {"target", "backtest"}
        assert {p["quantity"] for p in fit["projections"]} == {"loss", "score"}
        for p in fit["projections"]:
            assert keys <= set(p)
            assert p["low"] <= p["mean"] <= p["high"]
            assert p["low"] < p["high"]
            assert p["new_low"] < p["new_high"]
            if p["role"] == "backtest":
                assert p["observed"] is not None
                assert {"carry_forward", "carry_forward_error"} <= set(p)
        for value in fit["parameters"].values():
            assert set(value) == {"value", "low", "high", "at_bound"}
    assert {"method_id", "n_params", "mean", "low", "high", "p_best", "not_separable_from"} <= set(
        document["ranking"][0]
    )
    assert document["ranking"][0]["method_id"] == "fft"
    assert sum(r["p_best"] for r in document["ranking"]) == pytest.approx(1)


def test_same_seed_same_bits(tiny: pl.DataFrame, tiny_scores: pl.DataFrame, analysis: Analysis) -> None:
    again = analyse(tiny.sample(fraction=1, shuffle=True, seed=5), tiny_scores.reverse(), targets=[3e6])
    assert json.dumps(again.to_json()) == json.dumps(analysis.to_json())


def test_rows_fill_the_tables(analysis: Analysis, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    store.write_fits(db, [(with_curves(analysis), analysis.projections)])
    frames = {table: store.query(db, f"from {table}") for table in store.fits.FIT_TABLES}
    for frame in frames.values():
        assert not frame.is_empty()
        assert set(frame["fit_id"]) <= set(frames["fit"]["fit_id"])
    never = {"fit_point": {"n_tokens"}, "fit_curve": {"n_tokens"}, "fit": {"data_sql", "study_key", "query_hash"}}
    for table, frame in frames.items():
        empty = {column.name for column in frame if column.null_count() == len(frame)}
        assert empty == never.get(table, set()), f"columns of {table} that nobody fills"
    asked = frames["fit"].filter(pl.col("quantity") == "loss").select("law", "estimator", "loss_definition", "split",
                                                                       "level", "seed").unique()  # fmt: skip
    assert asked.rows() == [("auto", "huber", "last", "test", 0.9, 0)], "what was asked is stored"
    assert frames["fit"]["fit_id"].is_unique().all()
    assert frames["fit_parameter"].select("fit_id", "name").is_unique().all()
    assert frames["fit_draw"]["draw"].max() < 400
    assert frames["fit_point"].filter("held_out").height == 7


def test_scores_follow_the_loss_or_are_said_not_to(analysis: Analysis) -> None:
    rows = {(p.task_id, p.method_id): p for p in analysis.of("backtest", "score")}
    for task in ("acc", "choice"):
        errors = [p.relative_error for (t, _), p in rows.items() if t == task]
        assert np.mean(errors) < 0.12
    assert any(w.code == "not_predictable" and w.group == "flat" for w in analysis.warnings)
    covered = [p.covered for p in rows.values()]
    assert np.mean(covered) > 0.7


def test_targets_far_away_are_flagged_and_not_refused(tiny: pl.DataFrame) -> None:
    result = analyse(tiny, targets=[9e8])
    assert any(w.code == "far_extrapolation" for w in result.warnings)
    near, far = analyse(tiny, targets=[1e6]).of("target"), result.of("target")
    assert np.mean([p.high - p.low for p in far]) > np.mean([p.high - p.low for p in near])


def test_copies_of_a_method_are_not_separable(tiny: pl.DataFrame) -> None:
    rng = np.random.default_rng(0)
    copy = tiny.filter(pl.col("method_id") == "lora").with_columns(
        pl.lit("lora2").alias("method_id"), loss=pl.col("loss") * np.exp(0.001 * rng.standard_normal(4))
    )
    ranks = {r.method_id: r for r in analyse(pl.concat([tiny, copy]), targets=[2e6]).ranking}
    assert "lora2" in ranks["lora"].not_separable_from
    assert "ptuning" not in ranks["fft"].not_separable_from


def test_two_sizes_pool_and_say_so(tiny: pl.DataFrame) -> None:
    result = analyse(tiny.filter(pl.col("n_params") < 400_000), targets=[448_992])
    assert any(w.code == "few_sizes" for w in result.warnings)
    assert any(w.code == "no_backtest" for w in result.warnings) or result.of("backtest")


def test_rising_loss_is_flagged(tiny: pl.DataFrame) -> None:
    failing = pl.DataFrame(
        {
            "method_id": "adalora", "run_id": [f"a{i}" for i in range(4)], "seed": 0,
            "model_id": [f"x{i}" for i in range(4)],
            "n_params": sorted(set(tiny["n_params"])), "n_tokens": 102_400, "loss": [4.7, 4.75, 4.8, 4.9],
        }
    ).select(tiny.columns).cast(dict(tiny.schema))  # fmt: skip
    result = analyse(pl.concat([tiny, failing]), targets=[2e6])
    assert [w.group for w in result.warnings if w.code == "not_monotone"] == ["adalora"]
    alone = {p.method_id: p.mean for p in analyse(tiny, targets=[2e6]).of("target")}
    for p in result.of("target"):
        if p.method_id != "adalora":
            assert p.mean == pytest.approx(alone[p.method_id], rel=0.003)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda t: t.head(0), DataError),
        (lambda t: t.filter(pl.col("n_params") == 73_536), FitError),
        (lambda t: t.filter((pl.col("method_id") == "fft") & (pl.col("n_params") < 400_000)), FitError),
        (lambda t: t.with_columns(loss=pl.lit(float("nan"))), DataError),
        (lambda t: t.with_columns(loss=-pl.col("loss")), DataError),
        (lambda t: t.drop("loss"), DataError),
    ],
)
def test_bad_data_is_one_line(tiny: pl.DataFrame, change: object, error: type[AstraiosError]) -> None:
    with pytest.raises(error) as caught:
        analyse(change(tiny))  # type: ignore[operator]
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) > 15


def test_bad_options_are_one_line(tiny: pl.DataFrame) -> None:
    with pytest.raises(UsageError, match="power"):
        analyse(tiny, law="powr")
    with pytest.raises(UsageError, match="huber"):
        analyse(tiny, estimator="hubert")
    with pytest.raises(UsageError, match="level"):
        analyse(tiny, level=90)
    with pytest.raises(FitError, match="nothing to hide"):
        analyse(tiny, holdout=1e9)
