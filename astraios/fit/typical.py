"""The curve that all series of a ladder have in common, and how far each size departs from it.

Methods that are tuned on one base a size share that base's luck. More methods do not lessen it, and it says nothing of
how they differ. So the two are told apart: the mean of all series is one curve whose levels the luck blurs, with the
weak prior of a single series; what a level has beyond that curve is taken for luck and taken out of every series, which
then differ from the common curve by their own noise alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.laws import Law
from astraios.fit.observations import Ladder, Luck
from astraios.fit.optimise import Problems, inverse_of, minimise
from astraios.fit.priors import weak

OUTLYING = 3.0
"""Deviations beyond which a level is an outlier: it counts as this far off."""


@dataclass(frozen=True)
class Typical:
    """A curve through the mean of all series at each size."""

    problem: Problems
    """Of one series, in units of variance: weights are one over the variance of a level, with little of its luck."""
    theta: Array
    """(parameters,), centred and transformed."""
    covariance: Array
    """(parameters, parameters)."""
    luck: Array
    """(sizes,) variance of a level that its bases cause."""
    own: Array
    """(sizes,) variance of a level that the noise of its runs causes."""
    common: Array
    """(sizes,) what is taken for luck, in log loss."""
    pull: float
    """Share of the luck that the priors are weighed against."""

    @property
    def shift(self) -> Array:
        """Parameters above the anchor of the prior, (parameters,)."""
        return self.theta - self.problem.prior_mean[0]

    def redraw(self, moved: Array, rng: np.random.Generator, luck: Array, own: Array) -> tuple[Array, Array]:
        """Refits of levels that were moved (draws, sizes) under perturbed priors: theta and what is then luck.

        Args:
            moved: by how much.
            rng: where the priors come from.
            luck: spread of the luck in each draw, in spreads of the fit's, (draws,).
            own: the same of the noise of runs.
        """
        draws, one = len(moved), self.problem
        width = 1 / np.sqrt(one.prior_precision)
        centre = one.prior_mean + width * rng.standard_normal((draws, len(self.theta)))
        drawn = replace(self, luck=luck[:, None] ** 2 * self.luck, own=own[:, None] ** 2 * self.own)
        many = replace(one, y=one.y + moved, prior_mean=centre, weights=drawn.weighed(self.pull).weights)
        theta = minimise(many, np.tile(self.theta, (draws, 1)), 60, 1e-9).theta
        return theta, drawn._common(many, theta)

    def weighed(self, share: Array | float) -> Problems:
        """The problem with this share of the luck in its weights, or one problem for each of several (shares, 1)."""
        return replace(self.problem, weights=np.atleast_2d(1 / (share**2 * self.luck + self.own)))

    def _common(self, problem: Problems, theta: Array) -> Array:
        off = problem.y - problem.model.evaluate(theta, problem.x)[0]
        return np.asarray(off * self.luck / (self.luck + self.own))


def sizes_of(ladder: Ladder) -> tuple[Array, np.ndarray]:
    """Sizes (log) of a ladder, and the number of each point's size, (all points,)."""
    sizes, number = np.unique(np.round(ladder.column("n_params"), 6), return_inverse=True)
    return sizes, number


def typical(
    law: Law, ladder: Ladder, centre: Array, theta: Array, sigma: float, luck: Luck, start: Array | None = None
) -> Typical:
    """Fit the curve that the series share.

    Args:
        centre: (inputs,) logs.
        theta: (series, parameters): each series' own curve, which says how much it lies above the others.
        sigma: noise of one run.
        luck: of the sizes.
        start: (parameters,) where the search begins; by default the mean of `theta`.
    """
    sizes, level, runs = _levels(law, ladder, centre, theta, luck.spread)
    blur = luck.spread**2 / np.array([luck.count[float(v)] for v in sizes])
    own = sigma**2 / runs
    prior = weak(law, level[None], np.ones((1, len(level))), ladder.quantity)
    problem = Problems(
        law, (sizes - centre[0])[None], level[None], 1 / (luck.pull**2 * blur + own)[None], np.full((1, 1), np.inf),
        prior.anchor, prior.scale[None] ** -2.0, *law.bounds(),
    )  # fmt: skip
    solved = minimise(problem, (theta.mean(0) if start is None else start)[None], 100, 1e-10)
    inverse = inverse_of(solved.hessian, problem.prior_precision)[0]
    pull = inverse @ (law.evaluate(solved.theta, problem.x)[1][0] * problem.weights)
    covariance = inverse + (1 - luck.pull**2) * (pull * blur) @ pull.T
    found = Typical(problem, solved.theta[0], covariance, blur, own, np.zeros(len(sizes)), luck.pull)
    return replace(found, common=found._common(problem, solved.theta)[0])


def _levels(law: Law, ladder: Ladder, centre: Array, theta: Array, spread: float) -> tuple[Array, Array, Array]:
    """Sizes, the log losses of a typical series at each, and the runs behind them, (sizes,) each.

    Series whose loss rises with size have no say, unless all do.
    """
    sizes, number = sizes_of(ladder)
    x = np.broadcast_to((sizes - centre[0])[None, None], (1, len(theta), len(sizes)))
    kept = trusted(ladder)
    curve = law.evaluate(theta, x)[0]
    off, runs, start = np.zeros(len(sizes)), np.zeros(len(sizes)), 0
    for g, one in enumerate(ladder.series):
        at = number[start : start + len(one)]
        start += len(one)
        if kept[g]:
            weight = np.ones(len(one)) if one.weight is None else one.weight
            off += np.bincount(at, weight * (one.log_loss - curve[g, at]), len(sizes))
            runs += np.bincount(at, weight, len(sizes))
    # A size that only untrusted series have keeps a level that says nothing.
    off, runs = off / np.maximum(runs, 1e-9), np.maximum(runs, 1e-9)
    limit = OUTLYING * max(1.4826 * float(np.median(np.abs(off))), spread)
    return sizes, curve[kept].mean(0) + np.clip(off, -limit, limit), runs


def trusted(ladder: Ladder) -> np.ndarray:
    """Series that teach the others: those whose loss does not rise with size, or all where all do, (series,)."""
    falls = np.array([not one.rises for one in ladder.series])
    return falls | ~falls.any()
