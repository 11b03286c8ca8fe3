"""Planning: the best use of a budget, the least budget for a target, and what may share it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios
from astraios.errors import FitError, UsageError
from astraios.fit.calibration import CALIBRATION
from astraios.fit.decide import planning
from astraios.fit.decide.budget import SIX_N_D, Sharing, measured
from astraios.fit.decide.drift import drift

EPOCH_N, EPOCH_D = 7.22e10, 1.33e12
"""Best size and data at 5.76e23 FLOPs by the published replication (Besiroglu et al., 2024)."""
A, ALPHA, B, BETA, E = 480.0, 0.35, 2100.0, 0.37, 1.8


def _grid(noise: float = 0.0) -> pl.DataFrame:
    n, d = (one.ravel() for one in np.meshgrid(np.geomspace(1e7, 1e9, 6), np.geomspace(3e8, 3e10, 6)))
    rng = np.random.default_rng(0)
    loss = (E + A * n**-ALPHA + B * d**-BETA) * np.exp(noise * rng.standard_normal(n.size))
    return pl.DataFrame({"n_params": n, "tokens": d, "loss": loss})


@pytest.fixture(scope="module")
def exact() -> astraios.fit.results.FitResult:
    return astraios.fit(_grid(), law="chinchilla", d="tokens", estimator="huber_1e-3")


def _best(flops: float) -> float:
    return ((ALPHA * A) / (BETA * B)) ** (1 / (ALPHA + BETA)) * (flops / 6) ** (BETA / (ALPHA + BETA))


def test_the_best_size_is_the_laws_own(exact: astraios.fit.results.FitResult) -> None:
    [row] = exact.plan(flops=1e21).to_dicts()
    assert row["n_params"] == pytest.approx(_best(1e21), rel=1e-3)
    assert row["n_params"] * row["n_tokens"] == pytest.approx(1e21 / 6, rel=1e-9)
    assert row["exponent"] == pytest.approx(BETA / (ALPHA + BETA), rel=1e-3)
    at_flat = [E + A * n**-ALPHA + B * (1e21 / 6 / n) ** -BETA for n in (row["flat_low"], row["flat_high"])]
    assert at_flat == pytest.approx([row["loss"] * 1.002] * 2, rel=3e-4)


def test_the_least_budget_for_a_loss_is_the_inverse_of_the_best_loss_for_a_budget() -> None:
    result = astraios.fit(_grid(0.005), d="tokens")
    for flops in (1e18, 1e20, 5.76e23):
        [there] = result.plan(flops=flops).to_dicts()
        [back] = result.plan(loss=there["loss"]).to_dicts()
        assert back["flops"] == pytest.approx(flops, rel=1e-3)
        assert back["flops_low"] <= back["flops"]


def test_a_target_below_the_floor_is_not_reachable(exact: astraios.fit.results.FitResult) -> None:
    [row] = exact.plan(loss=1.7).to_dicts()
    assert row["flops"] is None
    assert row["p_unreachable"] > 0.5
    assert row["floor"] == pytest.approx(E, abs=0.02)


@pytest.mark.parametrize("held", [{"n_params": "300M"}, {"n_tokens": 2e10}, {"tokens_per_param": 20.0}])
def test_what_is_held_stays(exact: astraios.fit.results.FitResult, held: dict[str, float]) -> None:
    [row] = exact.plan(flops=1e21, **held).to_dicts()
    assert row["n_params"] * row["n_tokens"] == pytest.approx(1e21 / 6, rel=1e-9)
    got = {**row, "tokens_per_param": row["n_tokens"] / row["n_params"]}
    [(name, value)] = held.items()
    assert got[name] == pytest.approx(3e8 if value == "300M" else value)
    assert row["p_no_optimum"] is None
    assert row["loss"] >= exact.plan(flops=1e21)["loss"][0]
    [back] = exact.plan(loss=row["loss"], **held).to_dicts()
    assert back["flops"] == pytest.approx(1e21, rel=1e-3)


def test_money_and_hours_are_flops_at_an_assumed_throughput(exact: astraios.fit.results.FitResult) -> None:
    with pytest.raises(UsageError, match="no throughput is known"):
        exact.plan(device_hours=10)
    with pytest.raises(UsageError, match="--money needs --price"):
        exact.plan(money=10)
    with pytest.raises(UsageError, match="nothing was asked"):
        exact.plan()
    with pytest.raises(UsageError, match="must be a positive number"):
        exact.plan(flops=-1.0)


def test_a_measured_cost_is_a_power_of_the_size() -> None:
    size = np.log(np.array([1e6, 1e7, 1e8]))
    cost = measured("device_hours", size, np.log(3e-9) + 0.8 * size, "made up")
    assert (cost.slope, np.exp(cost.level)) == (pytest.approx(0.8), pytest.approx(3e-9))
    n, d = Sharing(tokens_per_param=20.0).split(np.log(np.array([5.0])), cost)
    assert np.exp(cost.log_budget(n, d)) == pytest.approx(5.0)
    with pytest.raises(FitError, match="does not grow"):
        Sharing(n_tokens=1e9).split(np.zeros(1), measured("device_hours", size, np.zeros(3), "made up"))


def test_runs_of_one_amount_of_data_plan_the_size_alone(tiny: pl.DataFrame) -> None:
    result = astraios.fit(tiny.select("method_id", "n_params", "loss"), group="method_id")
    with pytest.raises(FitError, match="how many tokens"):
        result.plan(flops=1e13)
    tokens = planning.Tokens("constant", 102_400.0)
    plan = planning.planner(result.ensemble, "fft", tokens=tokens)
    found = plan.at(6 * 102_400 * 4e6)
    assert (found.n_params, found.n_tokens, found.p_no_optimum) == (pytest.approx(4e6), pytest.approx(102_400), None)
    with pytest.raises(FitError, match="can't be told"):
        planning.planner(result.ensemble, "fft", tokens=tokens, sharing=Sharing(n_tokens=1e9))


def test_chinchillas_own_budget(shared: Path) -> None:
    """The 240 points of the replication: its numbers lie in the interval, and its own settings give its numbers."""
    points = pl.read_parquet(shared / "data" / "scaling" / "chinchilla_epoch.parquet")
    points = points.filter(~pl.col("epoch_excluded")).select("n_params", "tokens", "loss")
    [row] = astraios.fit(points, d="tokens").plan(flops=5.76e23).to_dicts()
    assert row["n_params_low"] < EPOCH_N < row["n_params_high"]
    assert row["n_tokens_low"] < EPOCH_D < row["n_tokens_high"]
    assert row["n_params_high"] < 12 * row["n_params_low"], "both views, and what the best size drifts on the way"
    same = astraios.fit(points, law="chinchilla", d="tokens", estimator="huber_1e-3")
    [row] = same.plan(flops=5.76e23).to_dicts()
    assert row["n_params"] == pytest.approx(EPOCH_N, rel=0.05)
    assert row["n_tokens"] == pytest.approx(EPOCH_D, rel=0.05)
    assert same.plan(loss=1.5)["flops"][0] is None


def test_six_flops_a_parameter_and_token() -> None:
    assert np.exp(SIX_N_D.log_budget(np.log(7e10), np.log(1.4e12))) == pytest.approx(6 * 7e10 * 1.4e12)


def test_the_best_size_drifts_as_smaller_budgets_have_it_wrong() -> None:
    """Small budgets favour small models here, as a warm-up that is too long makes them; larger ones do not."""
    frame, found = _grid(), {}
    n, d = (frame[name].to_numpy() for name in ("n_params", "tokens"))
    tilt = 0.1 * np.log(n / 1e8) * np.clip(np.log(3e18 / n / d) / 2, 0, 1)
    for name, table in (("true", frame), ("spoiled", frame.with_columns(loss=frame["loss"].to_numpy() * (1 + tilt)))):
        result = astraios.fit(table, d="tokens", law="chinchilla")
        found[name] = drift(result.ensemble), planning.allocate(result.ensemble, 6e20)
    assert found["true"][0] < CALIBRATION["optimum"]["drift"] < 0.5 * found["spoiled"][0]
    wide, narrow = (np.log(one.n_params_high / one.n_params_low) for one in (found["spoiled"][1], found["true"][1]))
    assert wide > 2 * narrow
