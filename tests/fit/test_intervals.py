"""Intervals that hold where nobody has looked: three sizes, luck of a size, dense data, repeats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import astraios
from astraios.errors import DataError, FitError, UsageError
from astraios.fit import pooling
from astraios.fit.bases import BASE_FREEDOM, BASE_NOISE, assume
from astraios.fit.calibration import _lean, _Seen
from astraios.fit.ensemble import build, noisier
from astraios.fit.fitting import pool
from astraios.fit.laws import LAWS
from astraios.fit.observations import Luck, read
from astraios.fit.quantities import infer
from astraios.fit.results import FitResult
from astraios.fit.weigh import candidates

NOISY = pl.DataFrame(
    {
        "n_params": [1e8, 3e8, 1e9],
        "loss": [(1.7 + 400 * n**-0.34) * k for n, k in ((1e8, 1.0), (3e8, 1.01), (1e9, 0.99))],
    }
)
"""Three sizes whose noise of 1 % looks like a power law without a floor."""


def made(rng: np.random.Generator, methods: int, own: float, shared: float) -> tuple[pl.DataFrame, np.ndarray, float]:
    """Three sizes with one base each: the frame, true losses at a target, its log size."""
    sizes = np.log(1e8) + np.log(3) * np.arange(3)
    target = sizes[-1] + rng.uniform(np.log(2), np.log(10))
    luck = shared * rng.standard_normal(3)
    floor, share, exponent = rng.uniform(1, 3), rng.uniform(0.2, 1.0), np.exp(rng.normal(np.log(0.35), 0.3))
    rows, truth = [], []
    for m in range(methods):
        e, a, alpha = floor * np.exp(rng.normal(0, 0.03, 1)[0]), floor * share, exponent * np.exp(rng.normal(0, 0.1))
        for i, size in enumerate(sizes):
            loss = (e + a * np.exp(-alpha * (size - sizes[0]))) * np.exp(luck[i] + own * rng.standard_normal())
            rows.append({"method": f"m{m}", "n_params": float(np.exp(size)), "loss": float(loss)})
        truth.append(e + a * np.exp(-alpha * (target - sizes[0])))
    return pl.DataFrame(rows), np.array(truth), target


def test_three_noisy_sizes_hold_the_truth_far_out() -> None:
    with pytest.warns(UserWarning, match="far_extrapolation"):
        ahead = astraios.fit(NOISY).predict([1e10, 1e12])
    for size, low, high in ahead.select("n_params", "low", "high").iter_rows():
        assert low < 1.7 + 400 * size**-0.34 < high


@pytest.mark.parametrize(("methods", "own", "shared"), [(1, 0.01, 0.0), (7, 0.003, 0.01), (7, 0.003, 0.015)])
def test_three_sizes_cover_the_truth(methods: int, own: float, shared: float) -> None:
    """Reduced: benchmarks/fit_synthetic.py has the counts that tell 85 from 97 %."""
    inside = []
    for seed in range(20):
        frame, truth, target = made(np.random.default_rng([seed, methods]), methods, own, shared)
        ladder = read(frame, group="method")
        drawn = build(candidates("auto", ladder), ladder, seed=seed).project(
            {"n_params": np.full((len(ladder), 1), target)}
        )
        low, high = drawn.interval(0.9)
        inside.append(np.mean((low[:, 0] <= truth) & (truth <= high[:, 0])))
    assert np.mean(inside) >= 0.75


def test_three_sizes_never_drive_a_law_without_floor_past_its_prior() -> None:
    assert astraios.fit(NOISY).weights["power"] <= 0.2 + 1e-9


def test_rows_that_repeat_count_once() -> None:
    once = astraios.fit(NOISY).predict([1e10])
    many = astraios.fit(pl.concat([NOISY] * 5))
    assert many.predict([1e10]).equals(once)
    assert "identical_seeds" in [w.code for w in many.warnings]


def test_many_rows_are_fitted_by_means() -> None:
    rng = np.random.default_rng(0)
    sizes = np.repeat(10 ** np.linspace(7, 10, 15), 200)
    loss = (1.7 + 400 * sizes**-0.34) * np.exp(0.01 * rng.standard_normal(len(sizes)))
    result = astraios.fit(pl.DataFrame({"n_params": sizes, "loss": loss}))
    assert len(result.ensemble.ladder.series[0]) == 15
    assert result.ensemble.sigma == pytest.approx(0.01, rel=0.05)
    low, high = result.predict([3e10]).select("low", "high").row(0)
    assert low < 1.7 + 400 * 3e10**-0.34 < high


def test_luck_is_said_and_can_be_set() -> None:
    assumed, none = astraios.fit(NOISY), astraios.fit(NOISY, base_noise=0)
    wide = astraios.fit(NOISY, base_noise=0.03)
    assert "assumed_base_noise" in [w.code for w in assumed.warnings]
    assert "assumed_base_noise" not in [w.code for w in (*none.warnings, *wide.warnings)]
    assert len({assumed.fit_id, none.fit_id, wide.fit_id}) == 3

    def width(result: FitResult) -> float:
        low, high = result.predict([2e9]).select("new_low", "new_high").row(0)
        return high - low

    assert width(none) < width(assumed) < width(wide)
    with pytest.raises(UsageError, match="relative standard deviation"):
        astraios.fit(NOISY, base_noise=-0.01)


def test_noise_of_a_single_series_counts_once() -> None:
    """1 % of scatter is either luck or a run's own, and not both: the two together are 1 %."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(1e8, 1e10, 9)
    total = []
    for _ in range(20):
        loss = (1.7 + 400 * sizes**-0.34) * np.exp(0.01 * rng.standard_normal(len(sizes)))
        fit = astraios.fit(pl.DataFrame({"n_params": sizes, "loss": loss}), law="power_offset").ensemble.best
        total.append(fit.noise**2)
    assert np.sqrt(np.mean(total)) == pytest.approx(0.01, rel=0.15)


def test_given_luck_is_part_of_the_scatter_of_a_single_series() -> None:
    rng = np.random.default_rng(1)
    sizes = np.geomspace(1e8, 1e10, 11)
    total = []
    for _ in range(20):
        loss = (1.7 + 400 * sizes**-0.34) * np.exp(0.01 * rng.standard_normal(len(sizes)))
        frame = pl.DataFrame({"n_params": sizes, "loss": loss})
        total.append(astraios.fit(frame, law="power_offset", base_noise=0.007).ensemble.best.noise ** 2)
    assert np.sqrt(np.mean(total)) == pytest.approx(0.01, rel=0.15)


def test_a_refit_weighs_its_priors_against_the_noise_of_its_draw() -> None:
    """Where a draw has 5 % of luck three sizes say little, and parameters stay as near as their priors keep them."""
    fit = astraios.fit(NOISY, law="power_offset").ensemble.best
    drawn = fit.draw(np.random.default_rng(0), np.full(400, 0.05))[0]
    assert (drawn.std(0) < fit.tau[0]).all()


def test_own_noise_of_a_single_series_has_no_tails_beside_its_luck() -> None:
    """One run a size doesn't tell them apart: the luck's uncertainty is that of both."""
    fit = astraios.fit(NOISY, law="power_offset").ensemble.best
    inside = fit.log_predict(fit.draw(np.random.default_rng(0), np.zeros(400)), np.zeros((1, 1, 1)))
    assert np.abs(inside - np.median(inside)).max() < 4 * inside.std()


def test_a_curve_and_the_new_run_beside_it_have_one_luck() -> None:
    ladder = read(NOISY)
    drawn = build(candidates("power_offset", ladder), ladder, count=2000).project({"n_params": np.log([[1e9]])})
    curve, run = (np.abs(part).ravel() for part in (drawn.draws - drawn.mean[:, None], drawn.new - drawn.draws))
    assert np.corrcoef(np.argsort(np.argsort(curve)), np.argsort(np.argsort(run)))[0, 1] > 0.08


@pytest.mark.parametrize(("bend", "wider"), [((0.0, 0.0, 0.0), False), ((0.012, -0.024, 0.012), True)])
def test_what_no_curve_can_do_is_luck(bend: tuple[float, ...], wider: bool) -> None:
    """A flat curve may not bend: a smooth one speaks for less luck than is assumed, a crooked one for more."""
    sizes = np.array([1e9, 3e9, 9e9])
    loss = (2.0 + 20 * sizes**-0.25) * np.exp(bend)
    luck = astraios.fit(pl.DataFrame({"n_params": sizes, "loss": loss})).ensemble.ladder.luck
    assert luck is not None
    assert (luck.spread > BASE_NOISE) == wider
    assert luck.freedom > BASE_FREEDOM


def test_series_differ_by_their_own_noise_alone() -> None:
    """Luck that all series of a size share says nothing of how they differ, however much of it is assumed."""
    frame, _, target = made(np.random.default_rng(5), 6, 0.002, 0.01)
    ladder = read(frame, group="method")
    luck = dict.fromkeys(np.round(ladder.levels("n_params"), 6).tolist(), 1)
    means = []
    for spread in (0.004, 0.03):
        fit = pool(LAWS.get("power_offset"), replace(ladder, luck=Luck(spread, luck, assumed=True)))
        means.append(fit.log_predict(fit.theta[:, None], np.full((1, 6, 1), target - fit.centre[0]))[:, 0, 0])
        assert fit.sigma < 0.004
    apart = [m - m.mean() for m in means]
    assert np.abs(apart[0] - apart[1]).max() < 0.002
    assert abs(means[0].mean() - means[1].mean()) > np.abs(apart[0] - apart[1]).max()


def test_more_series_do_not_lessen_luck() -> None:
    """The shared curve of twenty methods on three bases is as uncertain as that of two."""
    errors = []
    for methods in (2, 20):
        frame, _, target = made(np.random.default_rng(6), methods, 0.001, 0.0)
        ladder = assume(read(frame, group="method"), 0.01)
        for law in ("power_offset", "relative"):
            fit = pool(LAWS.get(law), ladder)
            at = np.full((1, 1), target - fit.centre[0])
            errors.append(np.sqrt(fit.variance(0, fit.law.evaluate(fit.theta[:1], at)[1][0])[0]))
    assert np.array(errors) == pytest.approx(np.mean(errors), rel=0.4)


def test_noise_of_single_runs_is_added_and_does_not_multiply_luck() -> None:
    ladder = read(made(np.random.default_rng(7), 4, 0.001, 0.0)[0], group="method")
    one = build(candidates("auto", ladder), ladder)
    more = noisier(one, 0.01)
    added = (more.noise - one.noise).std() * one.sigma * one.lesson.factor
    assert added == pytest.approx(np.sqrt(0.01**2 - one.sigma**2), rel=0.1)
    assert noisier(one, 0.5 * one.sigma) is one


def test_draws_of_condensed_curves_are_as_wide_as_those_of_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(8)
    tokens = np.geomspace(1e8, 1e10, 100)
    rows = [
        pl.DataFrame({"g": str(g), "n_params": 1e8, "n_tokens": tokens, "loss":
                      (2 + 0.1 * g + 3e3 * tokens**-0.4) * np.exp(0.003 * rng.standard_normal(100))})
        for g in range(4)
    ]  # fmt: skip
    ladder = read(pl.concat(rows), inputs={"n_params": "n_params", "n_tokens": "n_tokens"}, group="g")
    for law, most in (("rectified", 1.1), ("data_power", 1.4)):
        fit = pool(LAWS.get(law), ladder)
        full = fit.draw(np.random.default_rng(0), np.zeros(200))
        monkeypatch.setattr(pooling, "MANY_CELLS", 1)
        short = fit.draw(np.random.default_rng(0), np.zeros(200))
        monkeypatch.undo()
        x = np.full((1, 4, 1), np.log(1e11) - fit.centre[0])
        ends = [np.quantile(fit.log_predict(theta, x)[:, :, 0], [0.05, 0.5, 0.95], axis=1) for theta in (full, short)]
        widths = [np.ptp(end, axis=0) for end in ends]
        assert 0.9 < widths[1].mean() / widths[0].mean() < most
        assert np.abs(ends[0] - ends[1]).max() < 0.3 * widths[0].min()


def test_luck_of_a_size_blurs_levels_and_not_the_order() -> None:
    frame, _, target = made(np.random.default_rng(3), 5, 0.001, 0.0)
    ladder = read(frame, group="method")
    at = {"n_params": np.full((5, 1), target)}
    with_luck, without = (build(candidates("auto", ladder), ladder, base_noise=x).project(at) for x in (0.015, 0.0))

    def spread(draws: np.ndarray) -> float:
        return float((draws - draws.mean(0)).std(1).mean())

    level = with_luck.draws[:, :, 0].mean(0).std() / without.draws[:, :, 0].mean(0).std()
    order = spread(with_luck.draws[:, :, 0]) / spread(without.draws[:, :, 0])
    assert level > 1.5
    assert order < level


def test_only_sizes_alone_are_given_luck_and_bases_are_counted() -> None:
    frame = NOISY.with_columns(model_id=pl.Series(["a", "b", "c"]))
    luck = assume(read(pl.concat([frame, frame.with_columns(model_id=pl.Series(["a2", "b2", "c2"]))]))).luck
    assert luck is not None
    assert set(luck.count.values()) == {2}


def test_a_lean_is_taken_off_where_it_repeats_and_nothing_else_explains_it() -> None:
    def seen(mean: float, expected: float) -> _Seen:
        return _Seen(mean, mean**2, expected, 1.0, 1.0, 4)

    assert _lean([seen(0.02, 1e-6), seen(0.021, 1e-6), seen(0.019, 1e-6)]) == pytest.approx(0.02, rel=0.05)
    assert _lean([seen(0.02, 1e-6), seen(-0.02, 1e-6), seen(0.01, 1e-6)]) == 0
    assert _lean([seen(0.02, 1e-3), seen(0.02, 1e-3), seen(0.02, 1e-3)]) == 0
    assert _lean([seen(0.02, 1e-6)]) == 0


@pytest.mark.parametrize(
    ("column", "values", "kind"),
    [
        ("loss", [3.1, 2.8], "nats"),
        ("loss", [0.98, 0.85], "nats"),
        ("loss", [0.48, 0.22], "error_rate"),
        ("bpb", [0.5, 0.4], "bits_per_byte"),
        ("top1_error", [0.9, 0.8], "error_rate"),
        ("mse", [12.0, 3.0], "squared_error"),
    ],
)
def test_what_a_column_looks_like(column: str, values: list[float], kind: str) -> None:
    assert infer(column, values) == kind


def test_an_error_rate_may_fall_below_the_floor_of_text() -> None:
    frame = pl.DataFrame({"n_params": [1e8, 4e8, 1.6e9], "loss": [0.48, 0.36, 0.27]})
    error, text = (astraios.fit(frame, quantity=one, base_noise=0.003) for one in (None, "nats"))
    assert "assumed_quantity" in [w.code for w in error.warnings]
    assert error.predict([1e11])["low"][0] < text.predict([1e11])["low"][0]
    with pytest.raises(UsageError, match="unknown quantity"):
        astraios.fit(frame, quantity="nat")


def test_words() -> None:
    frame = pl.DataFrame({"n": [1e8, 3e8, 1e9, 3e9], "t": [1e9, 3e9, 1e10, 3e10], "loss": [3.1, 2.8, 2.55, 2.37]})
    result = astraios.fit(frame, n="n", d="t")
    with pytest.warns(UserWarning, match="off their ratio"):
        result.predict([1e10], [1e9])
    with pytest.raises(UsageError, match="one for all sizes or one each"):
        result.predict([1e10, 2e10], [1e11, 1e11, 1e11])
    with pytest.raises(FitError, match="amount of data"):
        result.predict([1e10], [0])
    with pytest.raises(UsageError, match="level"):
        astraios.fit(frame, n="n", level=1.5)
    with pytest.raises(DataError, match="row 2: no name of a series"):
        astraios.fit(frame.with_columns(g=pl.Series(["a", "a", None, "a"])), n="n", group="g")
    two = pl.DataFrame({"n": [1e8, 3e8, 1e9] * 2, "t": [1e9] * 3 + [3e10] * 3, "loss": [3.1, 2.8, 2.55, 3.0, 2.7, 2.5]})
    assert "few_amounts" in [w.code for w in astraios.fit(two, n="n", d="t").warnings]
