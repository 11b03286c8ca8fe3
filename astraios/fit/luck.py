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

from astraios.fit.observations import Ladder
from astraios.fit.optimise import inverse_of, minimise
from astraios.fit.pooling import PooledFit
from astraios.fit.typical import typical

SPREADS = np.geomspace(3e-4, 0.1, 41)
"""Standard deviations of the log loss between bases of one size that are weighed."""


def learn(ladder: Ladder, fit: PooledFit) -> Ladder:
    """The ladder with the posterior of an assumed luck, as spread and degrees of freedom; else as it was.

    Args:
        ladder: of sizes alone.
        fit: a law fitted to it under the prior's spread.
    """
    luck = ladder.luck
    if luck is None or not luck.assumed or not np.isfinite(luck.freedom):
        return ladder
    one = typical(fit.law, ladder, fit.centre, fit.theta, fit.sigma, luck)
    problems = one.weighed(SPREADS[:, None] / luck.spread)
    solved = minimise(problems, np.tile(one.theta, (len(SPREADS), 1)), 100, 1e-9)
    bend = -np.linalg.slogdet(inverse_of(solved.hessian, problems.prior_precision))[1]
    precision, half = SPREADS**-2.0, 0.5 * luck.freedom
    log = 0.5 * np.log(problems.weights).sum(1) - solved.objective - 0.5 * bend
    log += half * np.log(precision) - half * luck.spread**2 * precision
    share = np.exp(log - log.max())
    share /= share.sum()
    # The gamma distribution of a precision that has this mean and variance.
    mean = float(share @ precision)
    variance = max(float(share @ (precision - mean) ** 2), 1e-9 * mean**2)
    return replace(ladder, luck=replace(luck, spread=mean**-0.5, freedom=2 * mean**2 / variance))
