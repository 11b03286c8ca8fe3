"""Series and what they share: how far it goes, when it does, and what points leave open."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from astraios.fit.ensemble import build
from astraios.fit.fitted import fitted
from astraios.fit.fitting import pool
from astraios.fit.laws import LAWS
from astraios.fit.observations import Ladder, read
from astraios.fit.optimise import inverse_of
from astraios.fit.priors import weak
from astraios.fit.request import FitRequest

pytestmark = pytest.mark.promise("series are drawn to what they share as strongly as the data say")
TOKENS = np.geomspace(1e8, 6.4e9, 13)


def curves(exponents: list[float]) -> Ladder:
    """Curves by data with these exponents, each at a level of its own."""
    rng = np.random.default_rng(1)
    rows = []
    for g, exponent in enumerate(exponents):
        curve = (2 + 0.1 * g) * (1 + (TOKENS / TOKENS[0]) ** -exponent)
        loss = curve * np.exp(0.002 * rng.standard_normal(len(TOKENS)))
        rows.append(pl.DataFrame({"g": str(g), "n_params": 1e8, "n_tokens": TOKENS, "loss": loss}))
    return read(pl.concat(rows), inputs={"n_params": "n_params", "n_tokens": "n_tokens"}, group="g")


def test_alike_series_share_their_shape() -> None:
    """The search solves the first turn already, so what is shared must have its say in later ones."""
    ladder, law = curves([0.35] * 8), LAWS.get("data_power_offset")
    fit, apart = pool(law, ladder), pool(law, ladder, alone=True)
    k = law.names.index("beta")
    assert fit.tau[0, k] < 0.15
    assert fit.theta[:, k].std() < 0.6 * apart.theta[:, k].std()
    assert fit.theta[:, k] == pytest.approx(np.log(0.35), abs=0.15)


def test_alone_is_the_prior_of_each() -> None:
    ladder, law = curves([0.35] * 3), LAWS.get("data_power_offset")
    fit = pool(law, ladder, alone=True)
    _, y, weights = ladder.pack(law.inputs, fit.centre)
    prior = weak(law, y, weights)
    assert np.allclose(fit.mean, prior.anchor)
    assert np.allclose(fit.tau, prior.scale)
    assert not fit.mean_error.any()


def test_a_fit_that_goes_on_ends_where_one_from_the_start_does() -> None:
    ladder, law = curves([0.3, 0.35, 0.4, 0.3]), LAWS.get("rectified")
    again = pool(law, ladder, begun=pool(law, ladder, alone=True))
    assert again.theta == pytest.approx(pool(law, ladder).theta, abs=1e-3)


@pytest.mark.parametrize("alike", [True, False])
def test_hold_outs_say_whether_series_share(alike: bool) -> None:
    """Curves of two kinds lie far from their mean, which foretells neither: they are left to themselves."""
    exponents = [0.35] * 10 if alike else [1.2, 0.1] * 5
    law, ladder = LAWS.get("data_power_offset"), curves(exponents)
    ensemble = build([law], ladder)
    assert ensemble.rollings[0].alone is not alike
    (one, *_) = fitted("target", ensemble, dict.fromkeys(ladder.names, "x"), None, FitRequest(), None, ())
    assert one.certificate["own_shapes"] == ([] if alike else [law.name])
    k = law.names.index("beta")
    off = ensemble.fits[0].theta[:, k] - np.log(exponents)
    other = pool(law, ladder, alone=alike).theta[:, k] - np.log(exponents)
    assert (off**2).mean() < 0.6 * (other**2).mean()


def test_a_direction_that_points_leave_open_is_the_priors() -> None:
    """Nothing is known less than the prior has it: not where the curvature of the points is nothing, or negative."""
    precision = np.array([[0.25, 4.0, 1.0]])
    for bend in (0.0, -1e-3, -0.9):
        hessian = np.diag([1e4, 4.0 + bend, 1.0])[None]
        found = inverse_of(hessian, precision)[0]
        assert np.diag(found) == pytest.approx([1e-4, 0.25, 1.0], rel=1e-6)
    turned = np.array([[50.0, 49.0], [49.0, 50.0]])[None]
    assert inverse_of(turned, np.full((1, 2), 0.5))[0] == pytest.approx(np.linalg.inv(turned[0]), rel=1e-9)
    plain = np.diag([4.0, 0.5])[None]
    assert inverse_of(plain, np.zeros((1, 2)))[0] == pytest.approx(np.diag([0.25, 2.0]))
