"""What is decided from a fit: the next run, the crossing, the allocation, comparisons, curves, reuse, profiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios.fit
from astraios import store
from astraios.errors import DataError, FitError, UsageError
from astraios.fit import correlation, profile, reuse
from astraios.fit.decide import compare, design, planning, simulate
from astraios.fit.decide import finish as curves
from astraios.fit.ensemble import Ensemble, build
from astraios.fit.laws import LAWS
from astraios.fit.observations import read
from tests.fit.analysing import analyse, backtests, table


@pytest.fixture(scope="module")
def ensemble(tiny: pl.DataFrame) -> Ensemble:
    return build([LAWS.get("power_offset")], read(tiny, group="method_id"))


def test_design_beats_runs_at_random(ensemble: Ensemble) -> None:
    def cost(method: str, size: float) -> float:
        return size / 1e6

    plan = design.design(ensemble, 4e6, 3.0, cost)
    assert 0 < plan.spent <= plan.budget
    assert plan.width_after < plan.width_before
    assert all(a.gain_per_cost > 0 for a in plan.runs)
    rng = np.random.default_rng(0)
    rungs = np.exp(ensemble.ladder.levels("n_params"))
    names = ensemble.ladder.names
    columns = np.tile(np.log(np.append(rungs, 4e6)), (len(names), 1))
    draws = ensemble.project({"n_params": columns}).draws
    stacked = np.concatenate([draws[:, :, -1], *(draws[g, :, :-1].T for g in range(len(names)))])
    widths = []
    for _ in range(40):
        covariance, left = np.cov(stacked), 3.0
        while True:
            k = int(rng.integers(len(names) * len(rungs)))
            price = rungs[k % len(rungs)] / 1e6
            if price > left:
                break
            left -= price
            covariance = design._observe(covariance, len(names) + k, ensemble.sigma**2)
        widths.append(np.sqrt(np.trace(covariance[: len(names), : len(names)]) / len(names)))
    assert plan.width_after < np.mean(widths)
    with pytest.raises(FitError, match="no run fits"):
        design.design(ensemble, 4e6, 1e-6, cost)


def test_crossing_is_found_where_it_was_planted() -> None:
    sizes = np.array([1e6, 3e6, 1e7, 3e7, 1e8])
    steep, flat = 2 + 2.0 * (sizes / 1e6) ** -0.5, 2 + 1.2 * (sizes / 1e6) ** -0.3
    frame = pl.DataFrame({"g": ["steep"] * 5 + ["flat"] * 5, "n_params": [*sizes, *sizes], "loss": [*steep, *flat]})
    fit = build([LAWS.get("power_offset")], read(frame, group="g"))
    found = compare.crossing(fit, "steep", "flat", 1e9)
    truth = 1e6 * (2.0 / 1.2) ** (1 / 0.2)
    assert found.probability > 0.9
    assert found.low < truth < found.high
    assert found.better_at_largest == "steep"
    with pytest.raises(UsageError, match="no series"):
        compare.crossing(fit, "steep", "nobody", 1e9)


def test_relative_loss_is_constant_or_not() -> None:
    rng = np.random.default_rng(0)

    def ladder(change: float) -> pl.DataFrame:
        rows = []
        for size in (1e6, 1e7, 1e8):
            for method, shift in (("fft", 0.0), ("lora", 0.05), ("ia3", 0.1)):
                tilt = change * np.log(size / 1e6) * (method == "ia3")
                for seed in range(3):
                    noise = 0.003 * rng.standard_normal()
                    loss = (2 + 3 * (size / 1e5) ** -0.3) * np.exp(shift + tilt + noise)
                    rows.append({"m": method, "n_params": size, "loss": loss, "seed": seed})
        return pl.DataFrame(rows)

    same = compare.relative_loss(read(ladder(0.0), group="m"), "fft")
    assert same.p_value > 0.01
    assert same.effect["lora"] == pytest.approx(0.05, abs=0.01)
    assert compare.relative_loss(read(ladder(0.02), group="m"), "fft").p_value < 1e-4


def test_paired_difference_is_sharper_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    item = rng.uniform(size=400)
    a, b = (item + 0.05 > rng.uniform(size=400) * 0.1 + 0.45).astype(float), (item > 0.5).astype(float)
    found = compare.paired(a, b)
    apart = np.sqrt(a.var() / 400 + b.var() / 400)
    assert found.stderr < 0.6 * apart
    assert found.low < found.difference < found.high
    assert found.correlation > 0.5
    assert compare.paired(a, a).difference == 0


def test_correlations_match_scipy() -> None:
    frame = pl.DataFrame(
        {"size": ["a"] * 4 + ["b"] * 4, "x": [1.0, 2, 3, 4, 4, 3, 2, 1], "y": [2.0, 1, 4, 3, 1, 2, 3, 4]}
    )
    found = correlation.correlations(frame, [("x", "y")], group="size")
    assert found.height == 9
    kendall = found.filter((pl.col("coefficient") == "kendall") & (pl.col("group") == "b"))["value"][0]
    assert kendall == pytest.approx(-1)
    with pytest.raises(DataError, match="no column"):
        correlation.correlations(frame, [("x", "z")])
    assert np.isnan(correlation.correlate([1, 1, 1], [1, 2, 3])[0])


def test_allocation_recovers_the_exponent() -> None:
    rng = np.random.default_rng(0)
    n, d = np.exp(rng.uniform(np.log(1e7), np.log(1e9), 80)), np.exp(rng.uniform(np.log(2e8), np.log(2e10), 80))
    loss = (1.8 + 480 * n**-0.35 + 2100 * d**-0.37) * np.exp(0.002 * rng.standard_normal(80))
    frame = pl.DataFrame({"n_params": n, "tokens": d, "loss": loss})
    result = astraios.fit(frame, law="chinchilla", d="tokens")
    found = planning.allocate(result.ensemble, 1e21)
    best = ((0.35 * 480) / (0.37 * 2100)) ** (1 / 0.72) * (1e21 / 6) ** (0.37 / 0.72)
    assert found.n_params_low < best < found.n_params_high
    assert found.exponent_low < 0.37 / 0.72 < found.exponent_high
    assert found.n_params * found.n_tokens == pytest.approx(1e21 / 6, rel=1e-6)
    assert 0 <= found.p_no_optimum < 0.05
    with pytest.raises(FitError, match="size and data"):
        planning.allocate(astraios.fit(frame.head(40), law="power").ensemble, 1e21)


def test_more_sizes_are_seen_to_help(ensemble: Ensemble) -> None:
    few = simulate.simulate(ensemble, (1e5, 3e5, 1e6), 4e6, ladders=4)
    many = simulate.simulate(ensemble, (1e5, 2e5, 4e5, 8e5, 1.6e6), 4e6, seeds=2, ladders=4)
    assert many.width < few.width
    assert 0.5 <= many.coverage <= 1


def test_unfinished_runs_are_extrapolated() -> None:
    rows = []
    rng = np.random.default_rng(0)
    for run, (end, steps) in {"done": (3.0, 1000), "cut": (3.1, 500), "bad": (3.6, 500)}.items():
        for step in range(50, steps + 1, 50):
            loss = end + 4 * (step**-0.5 - 1000**-0.5) + 0.002 * rng.standard_normal()
            rows.append({"run_id": run, "step": step, "loss": loss})
    found = {f.run_id: f for f in curves.finish(pl.DataFrame(rows), 1000, to_beat=3.2)}
    assert found["done"].low == found["done"].high
    assert found["cut"].low < 3.1 < found["cut"].high
    assert found["bad"].hopeless
    assert not found["cut"].hopeless
    with pytest.raises(FitError, match="too short"):
        curves.finish(pl.DataFrame(rows).filter(pl.col("step") <= 150), 1000)


def test_a_stored_fit_predicts_the_same(tiny: pl.DataFrame, tmp_path: Path) -> None:
    analysis = analyse(tiny, targets=[3e6])
    store.write_fits(tmp_path / "a.duckdb", [(analysis.fitted(), analysis.projections)])
    [row] = store.query(tmp_path / "a.duckdb", "from fit where method_id = 'fft' and role = 'target'").iter_rows(
        named=True
    )
    stored = reuse.restore(row, store.query(tmp_path / "a.duckdb", "from fit_draw"))
    again = stored.predict([3e6]).row(0, named=True)
    first = next(p for p in analysis.of("target") if p.method_id == "fft")
    for name in ("mean", "low", "high", "new_low", "new_high"):
        assert again[name] == pytest.approx(getattr(first, name), rel=1e-9)


def test_profile_brackets_the_estimate(tiny: pl.DataFrame) -> None:
    result = astraios.fit(tiny, law="power_offset", group="method_id")
    found = profile.profile(result.ensemble.best, "alpha", "fft")
    assert found.low < found.value < found.high
    assert found.rise.min() > -1e-6
    with pytest.raises(UsageError, match="no parameter"):
        profile.profile(result.ensemble.best, "beta", "fft")


def test_backtests_hide_each_size_in_turn(tiny: pl.DataFrame) -> None:
    found = backtests(tiny, laws=("auto", "power"))
    rows = table(found)
    assert set(rows["n_params"]) == {448_992, 894_976}
    assert set(rows["law"]) == {"auto", "power"}
    assert rows.filter(pl.col("law") == "auto")["covered"].mean() >= 0.7
    errors = rows.group_by("law").agg(pl.col("relative_error").mean())
    assert dict(errors.iter_rows())["auto"] < dict(errors.iter_rows())["power"]
