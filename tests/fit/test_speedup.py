"""How much faster one series is than another: the identity, a copy, intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

import astraios
from astraios.errors import FitError, UsageError
from astraios.fit.decide.compare import crossing
from astraios.fit.decide.plan import Planned
from astraios.fit.decide.speedup import SpeedUp, speedup
from astraios.fit.targets import Target, Tokens

SIZES = np.array([1e6, 3e6, 1e7, 3e7, 1e8])
E, ALPHA = 1.8, 0.3
TARGET = Target(1e9, 1e9)


def _runs(noise: float = 0.0, **amplitude: float) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        [
            {"g": g, "n": n, "loss": (E + a * n**-ALPHA) * np.exp(noise * rng.standard_normal())}
            for g, a in amplitude.items()
            for n in SIZES
        ]
    )


def _ask(
    frame: pl.DataFrame, unit: str = "flops", kind: str = "constant", value: float = 1e9, **options: str
) -> SpeedUp:
    result = astraios.fit(frame, n="n", group="g", **options)
    return speedup(Planned(result.ensemble, Tokens(kind, value)), "a", "b", TARGET, unit)


def test_without_noise_the_factor_is_the_laws_own() -> None:
    exact = {"law": "power_offset", "estimator": "huber_1e-3"}
    frame = _runs(a=120.0, b=100.0)
    loss_a, loss_b = (E + a * 1e9**-ALPHA for a in (120.0, 100.0))
    truth = ((loss_a - E) / (loss_b - E)) ** (1 / ALPHA)
    assert _ask(frame, **exact).factor == pytest.approx(truth, rel=1e-6)
    # Where data grow with size, compute grows with its square, and tokens as the size does.
    assert _ask(frame, kind="proportional", value=1.0, **exact).factor == pytest.approx(truth**2, rel=1e-6)
    assert _ask(frame, "tokens", "proportional", 1.0, **exact).factor == pytest.approx(truth, rel=1e-6)
    with pytest.raises(FitError, match="every run was trained on 1B tokens"):
        _ask(frame, "tokens", **exact)


def test_with_size_and_data_both_share_their_budgets_for_the_best() -> None:
    n, d = (one.ravel() for one in np.meshgrid(np.geomspace(1e7, 3e8, 4), np.geomspace(3e8, 1e10, 4)))
    rows = [
        pl.DataFrame({"g": g, "n": n, "d": d, "loss": E + q * (400 * n**-0.34 + 900 * d**-0.31)})
        for g, q in (("a", 1.2), ("b", 1.0))
    ]
    result = astraios.fit(pl.concat(rows), law="chinchilla", n="n", d="d", group="g", estimator="huber_1e-3")
    planned = Planned(result.ensemble, Tokens("free", 1e10))
    found = speedup(planned, "a", "b", Target(1e9, 2e10))
    assert found.factor == pytest.approx(1.2 ** (1 / (0.34 * 0.31 / 0.65)), rel=1e-4)
    # At a fixed size more data alone have to make up for it.
    left = 1.2 * 900 * 2e10**-0.31
    goal = E + 400 * 1e9**-0.34 + 900 * 2e10**-0.31 - E - 1.2 * 400 * 1e9**-0.34
    tokens = speedup(planned, "a", "b", Target(1e9, 2e10), "tokens")
    assert tokens.factor == pytest.approx((left / goal) ** (1 / 0.31), rel=1e-4)
    assert crossing(result.ensemble, "a", "b", 1e10, n_tokens=2e10).size is None
    with pytest.raises(FitError, match="at how many tokens"):
        crossing(result.ensemble, "a", "b", 1e10)


def test_a_copy_under_another_name_is_not_separable() -> None:
    one = _runs(0.005, a=120.0)
    found = _ask(pl.concat([one, one.with_columns(g=pl.lit("b"))]))
    assert found.factor == pytest.approx(1.0, abs=1e-6)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 1 < found.high
    assert not found.separable


def test_a_loss_that_is_out_of_reach_says_so() -> None:
    frame = pl.concat([_runs(a=120.0), _runs(b=100.0).with_columns(pl.col("loss") - 0.4)])
    found = _ask(frame)
    assert found.factor is None
    assert found.p_unreachable > 0.5
    assert found.separable
    planned = Planned(astraios.fit(frame, n="n", group="g").ensemble, Tokens("constant", 1e9))
    with pytest.raises(UsageError, match="no series 'c'"):
        speedup(planned, "a", "c", TARGET)


def test_intervals_hold_the_truth() -> None:
    """A few of the pairs that benchmarks/plan_speedup.py counts."""
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(6):
        ratio = float(np.exp(rng.uniform(0, 0.25)))
        frame = pl.concat([_runs(0.004, a=100 * ratio, b=100.0)])
        found = _ask(frame)
        hits.append((found.low or 0) <= ratio ** (1 / ALPHA) <= (found.high or np.inf))
    assert sum(hits) >= 4
