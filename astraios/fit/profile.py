"""Profile intervals: how far a parameter can go while the others make up for it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.curve import Array
from astraios.fit.optimise import inverse_of, minimise
from astraios.fit.pooling import PooledFit, repeat


@dataclass(frozen=True)
class Profile:
    """The objective along one parameter, all others refitted."""

    parameter: str
    value: float
    low: float | None
    """None: open on this side, the data do not bound the parameter there."""
    high: float | None
    grid: Array
    """Transformed and centred values of the parameter, (points,)."""
    rise: Array
    """Twice the rise of the objective over its minimum, in units of sigma^2, (points,)."""


def profile(fit: PooledFit, parameter: str, group: str | None = None, level: float = 0.9, points: int = 41) -> Profile:
    """Interval of the values whose objective is within the chi-square limit of the optimum (1 degree of freedom).

    The interval is of the parameter at the centre of the data (an amplitude is a loss there, not at N = 1), which is
    what the data determine; it is mapped to natural units for parameters that do not depend on the centre.

    Raises:
        UsageError: no such parameter or series.
        FitError: the fit has no noise to measure the rise in.
    """
    from scipy.stats import chi2

    if parameter not in fit.law.names:
        raise UsageError(f"{fit.law.name} has no parameter {parameter!r}: it has {', '.join(fit.law.names)}")
    names = fit.ladder.names
    if (group is None and len(names) > 1) or (group is not None and group not in names):
        raise UsageError(f"name one series to profile: {', '.join(names)}")
    if fit.noise <= 0:
        raise FitError("a fit without noise has no profile")
    g, k = (names.index(group) if group else 0), fit.law.names.index(parameter)
    centre = fit.theta[g, k]
    curvature = float(fit.solution.hessian[g, k, k])
    inverse = inverse_of(fit.solution.hessian[g : g + 1], fit.problems.prior_precision[g : g + 1])
    error = fit.noise * float(np.sqrt(inverse[0, k, k]))
    reach = min(max(5 * error, 0.1), 8.0)
    low, high = fit.law.bounds()
    grid = np.clip(centre + reach * np.linspace(-1, 1, points) ** 3, low[k], high[k])
    problems = repeat(fit.problems, np.full(points, g))
    mean, precision = problems.prior_mean.copy(), problems.prior_precision.copy()
    mean[:, k] = grid
    own = precision[:, k].copy()
    precision[:, k] = 1e10 * (1 + curvature)
    start = np.repeat(fit.theta[g : g + 1], points, axis=0)
    start[:, k] = grid
    solved = minimise(replace(problems, prior_mean=mean, prior_precision=precision), start, 200, 1e-10)
    prior = 0.5 * own * (grid - problems.prior_mean[:, k]) ** 2
    rise = 2 * (solved.objective + prior - fit.solution.objective[g]) / fit.noise**2
    limit = float(chi2.ppf(level, 1))
    below, above = _cross(grid, rise, limit, centre)
    natural = fit.law.parameters[k].backward
    value, ends = float(natural(centre)), [None if e is None else float(natural(e)) for e in (below, above)]
    return Profile(parameter, value, ends[0], ends[1], grid, rise)


def _cross(grid: Array, rise: Array, limit: float, centre: float) -> tuple[float | None, float | None]:
    """Where the profile passes the limit on either side of the optimum."""
    left, right = grid <= centre, grid >= centre
    ends: list[float | None] = []
    for side in (left, right):
        x, y = grid[side], rise[side]
        if side is left:
            x, y = x[::-1], y[::-1]
        over = np.flatnonzero(y > limit)
        if not over.size:
            ends.append(None)
        elif over[0] == 0:
            ends.append(float(x[0]))
        else:
            j = over[0]
            share = (limit - y[j - 1]) / (y[j] - y[j - 1])
            ends.append(float(x[j - 1] + share * (x[j] - x[j - 1])))
    return ends[0], ends[1]
