"""What a ladder's own curve says of a luck that is assumed: how probable each spread makes the levels of its sizes.

With one base a size the luck of a size and the bend of the curve can't be told apart by themselves. But a curve has the
shape that the priors of its parameters allow, and what they do not allow is luck. So every spread on a grid is weighed
by its prior and by the evidence of the curve that all series share (Laplace's approximation; MacKay, 1992), whose
levels it blurs. Three sizes say little, and more the flatter the curve; each further size says about one degree of
freedom.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.observations import Ladder, Luck
from astraios.fit.optimise import Problems, minimise
from astraios.fit.pooling import PooledFit
from astraios.fit.priors import weak

SPREADS = np.geomspace(3e-4, 0.1, 41)
"""Standard deviations of the log loss between bases of one size that are weighed."""
OUTLYING = 3.0
"""Deviations beyond which a level is an outlier: it counts as this far off."""


def learn(ladder: Ladder, fit: PooledFit) -> Ladder:
    """The ladder with the posterior of an assumed luck, as spread and degrees of freedom; else as it was.

    Args:
        ladder: of sizes alone.
        fit: a law fitted to it under the prior's spread.
    """
    luck = ladder.luck
    if luck is None or not luck.assumed or not np.isfinite(luck.freedom):
        return ladder
    size, level, runs = _shared_curve(fit, luck)
    x = (size - fit.centre[0])[None]
    bases = np.array([luck.count[float(v)] for v in size])
    weights = 1 / (SPREADS[:, None] ** 2 / bases + fit.sigma**2 / runs)
    prior = weak(fit.law, level[None], np.ones((1, len(level))), ladder.quantity)
    problems = Problems(
        fit.law, x, level[None], weights, np.full((1, 1), np.inf), prior.anchor, prior.scale[None] ** -2.0,
        *fit.law.bounds(),
    )  # fmt: skip
    solved = minimise(problems, np.tile(fit.theta.mean(0), (len(SPREADS), 1)), 100, 1e-9)
    bend = np.log(np.maximum(np.linalg.eigvalsh(solved.hessian), 1e-12)).sum(1)
    evidence = -solved.objective + 0.5 * np.log(weights).sum(1) - 0.5 * bend
    precision = SPREADS**-2.0
    half = 0.5 * luck.freedom
    log = evidence + half * np.log(precision) - half * luck.spread**2 * precision
    share = np.exp(log - log.max())
    share = share / share.sum()
    mean = float(share @ precision)
    spare = float(share @ (precision - mean) ** 2)
    # The gamma distribution of a precision with this mean and variance.
    return replace(ladder, luck=replace(luck, spread=mean**-0.5, freedom=2 * mean**2 / max(spare, 1e-12 * mean**2)))


def _shared_curve(fit: PooledFit, luck: Luck) -> tuple[Array, Array, Array]:
    """Sizes, the log losses of a typical series at each, and the runs behind them, (sizes,) each.

    Series whose loss rises with size have no say, unless all do.
    """
    sizes = np.unique(np.round(fit.ladder.column("n_params"), 6))
    x = np.broadcast_to((sizes - fit.centre[0])[None, None], (1, len(fit.theta), len(sizes)))
    trusted = np.array([not one.rises for one in fit.ladder.series])
    trusted = trusted | ~trusted.any()
    curve = fit.law.evaluate(fit.theta, x)[0][trusted].mean(0)
    off, runs = np.zeros(len(sizes)), np.zeros(len(sizes))
    for g in np.flatnonzero(trusted):
        one = fit.ladder.series[g]
        at = np.searchsorted(sizes, np.round(one.inputs["n_params"], 6))
        mine = (one.inputs["n_params"] - fit.centre[0])[None, None]
        weight = np.ones(len(one)) if one.weight is None else one.weight
        off += np.bincount(at, weight * (one.log_loss - fit.law.evaluate(fit.theta[g : g + 1], mine)[0][0]), len(sizes))
        runs += np.bincount(at, weight, len(sizes))
    there = runs > 0
    sizes, curve, off, runs = sizes[there], curve[there], off[there] / runs[there], runs[there]
    limit = OUTLYING * max(1.4826 * float(np.median(np.abs(off))), luck.spread)
    return sizes, curve + np.clip(off, -limit, limit), runs
