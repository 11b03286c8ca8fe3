"""Every law: gradient, Hessian, guess, units, recovery of planted parameters."""

from __future__ import annotations

import numpy as np
import pytest

from astraios.fit.laws import LAWS, Law
from astraios.fit.optimise import Problems, minimise

pytestmark = pytest.mark.promise("laws and their derivatives agree")
LAWS_BY_NAME = pytest.mark.parametrize("name", LAWS.names())


def design(law: Law, seed: int = 0, points: int = 60) -> np.ndarray:
    """Centred log inputs over three or four orders of magnitude."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-4, 4, (len(law.inputs), points))
    if "unique_tokens" in law.inputs:
        x[2] = x[1] - rng.uniform(0, 3, points)
    return x


def inner(law: Law, x: np.ndarray, count: int, seed: int = 1) -> np.ndarray:
    """Parameters well inside the bounds: guesses for a plausible loss."""
    rng = np.random.default_rng(seed)
    y = np.log(2 + np.exp(-0.3 * x.sum(0)))
    return law.guess(x, y, rng, count)


@LAWS_BY_NAME
def test_gradient_equals_numeric(name: str) -> None:
    law = LAWS.get(name)
    x = design(law)
    theta = inner(law, x, 8)
    _, gradient = law.evaluate(theta, x)
    for k in range(theta.shape[1]):
        h = 1e-6
        up, down = theta.copy(), theta.copy()
        up[:, k] += h
        down[:, k] -= h
        numeric = (law.evaluate(up, x)[0] - law.evaluate(down, x)[0]) / (2 * h)
        np.testing.assert_allclose(gradient[:, k], numeric, rtol=2e-5, atol=2e-7)


@LAWS_BY_NAME
def test_hessian_equals_numeric(name: str) -> None:
    law = LAWS.get(name)
    x = design(law, points=12)
    theta = inner(law, x, 4)
    rng = np.random.default_rng(2)
    outer, curve = rng.normal(size=(4, 12)), rng.normal(size=(4, 12))
    _, jacobian = law.evaluate(theta, x)
    found = law.hessian(theta, x, jacobian, outer, curve)
    expected = np.einsum("bkn,bn,bln->bkl", jacobian, outer, jacobian)
    for k in range(theta.shape[1]):
        h = 1e-5
        up, down = theta.copy(), theta.copy()
        up[:, k] += h
        down[:, k] -= h
        change = (law.evaluate(up, x)[1] - law.evaluate(down, x)[1]) / (2 * h)
        expected[:, k] += np.einsum("bln,bn->bl", change, curve)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@LAWS_BY_NAME
def test_guess_is_within_bounds(name: str) -> None:
    law = LAWS.get(name)
    low, high = law.bounds()
    theta = inner(law, design(law), 32)
    assert ((theta >= low) & (theta <= high)).all()
    assert np.isfinite(law.evaluate(theta, design(law))[0]).all()


@LAWS_BY_NAME
def test_planted_curve_is_recovered(name: str) -> None:
    law = LAWS.get(name)
    x = design(law, points=150)
    truth = inner(law, x, 1)
    y = law.evaluate(truth, x)[0]
    k = truth.shape[1]
    problems = Problems(
        law, x, y, np.ones((1, 150)), np.full((1, 1), np.inf), np.zeros((1, k)), np.zeros((1, k)), *law.bounds()
    )
    starts = law.guess(x, y[0], np.random.default_rng(5), 24)
    solution = minimise(problems, starts)
    best = solution.theta[solution.objective.argmin()]
    assert solution.objective.min() < 1e-10
    fitted = law.evaluate(best[None], x)[0]
    np.testing.assert_allclose(fitted, y, atol=1e-5)


@LAWS_BY_NAME
def test_natural_parameters_predict_the_same(name: str) -> None:
    law = LAWS.get(name)
    x = design(law, points=20)
    theta = inner(law, x, 1)
    centre = np.full(len(law.inputs), np.log(1e7))
    values = dict(zip(law.names, law.natural(law.uncentre(theta, centre))[0], strict=True))
    inputs = {name: np.exp(row + c) for name, row, c in zip(law.inputs, x, centre, strict=True)}
    np.testing.assert_allclose(law.predict(values, **inputs), np.exp(law.evaluate(theta, x)[0][0]), rtol=1e-9)


@LAWS_BY_NAME
def test_law_is_documented(name: str) -> None:
    law = LAWS.get(name)
    assert law.citation
    assert law.latex
    assert law.title
    assert len(set(law.names)) == len(law.names)
    assert all(p.meaning for p in law.parameters)
