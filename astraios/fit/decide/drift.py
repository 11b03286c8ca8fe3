"""How far the best size drifts from where smaller budgets put it.

An optimum is flat, so a small error of a law's form moves it far, and no noise of single losses says how far. The
ladder's own rolling hold-outs do: what the runs of smaller budgets say of the best size at the largest budget is held
against what all runs say there. What the parameters' uncertainty does not explain is drift: a random walk in log
budget.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from astraios.fit.calibration import CALIBRATION
from astraios.fit.curve import Array
from astraios.fit.ensemble import Ensemble
from astraios.fit.optimise import inverse_of
from astraios.fit.pooling import PooledFit
from astraios.fit.targets import FLOPS_PER_TOKEN

LEAST = 0.3
"""Distance in log budget that a hold-out has to bridge."""
SIZES = np.linspace(-0.5, 0.5, 121) * 6 * np.log(10)
"""Log sizes that are searched, around equal shares of size and data."""
DRAWS = 40


def drift(ensemble: Ensemble, seed: int = 0) -> float:
    """Standard deviation of the best log size, for each root of the log budget outside those that were measured.

    It begins at what other tables ask for, worth some hold-outs (calibration.toml).
    """
    prior = CALIBRATION["optimum"]
    square, worth = prior["drift"] ** 2 * prior["splits"], float(prior["splits"])
    largest = _largest(ensemble.fits[0])
    names = ensemble.ladder.names
    best, spread = _optima(ensemble.fits, ensemble.weights, largest, seed)
    for s, share in enumerate(ensemble.rollings[0].worth):
        fits = [rolling.fits[s] for rolling in ensemble.rollings]
        gap = largest - _largest(fits[0])
        if gap < LEAST:
            continue
        kept = [names.index(name) for name in fits[0].ladder.names]
        before, unsure = _optima(fits, ensemble.weights, largest, seed)
        # The variance of what a part says, less that of the whole, is that of their difference (Hausman, 1978).
        explained = np.maximum(unsure - spread[kept], 0.0)
        square += share * float(np.mean((before - best[kept]) ** 2 - explained)) / gap
        worth += share
    return float(np.sqrt(max(square, prior["least"] ** 2 * worth) / worth))


def _largest(fit: PooledFit) -> float:
    """Log of the largest budget, 6 N D FLOPs."""
    ladder = fit.ladder
    return float((ladder.column("n_params") + ladder.column("n_tokens")).max() + np.log(FLOPS_PER_TOKEN))


def _optima(fits: Sequence[PooledFit], weights: Array, log_budget: float, seed: int) -> tuple[Array, Array]:
    """Best log size of each series at a budget by the laws' average, and the variance that parameters give it."""
    sizes = (log_budget - np.log(FLOPS_PER_TOKEN)) / 2 + SIZES
    rng = np.random.default_rng(seed)
    series = len(fits[0].theta)
    mean, variance = np.zeros((series, len(sizes))), np.zeros(series)
    for fit, weight in zip(fits, weights, strict=True):
        k = fit.theta.shape[1]
        columns = {"n_params": sizes, "n_tokens": log_budget - np.log(FLOPS_PER_TOKEN) - sizes}
        columns["unique_tokens"] = columns["n_tokens"]
        x = np.stack([columns[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
        mean = mean + weight * fit.log_predict(fit.theta[:, None], np.repeat(x[:, None], series, 1))[:, 0]
        inverse = inverse_of(fit.solution.hessian, fit.problems.prior_precision)
        root = np.linalg.cholesky(fit.noise**2 * inverse + 1e-12 * np.eye(k))
        theta = fit.theta[:, None] + rng.standard_normal((series, DRAWS, k)) @ root.transpose(0, 2, 1)
        drawn = fit.log_predict(theta, np.repeat(x[:, None], series, 1))
        variance = variance + weight * sizes[drawn.argmin(2)].var(1)
    return sizes[mean.argmin(1)], variance
