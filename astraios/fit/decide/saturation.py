"""Scores along training that level off: ceiling, efficiency and midpoint, along a run and across sizes.

R(C) = R0 + (A - R0) / (1 + (C_mid / C)^B) (Khatri et al., 2025, arXiv:2510.13786, eq. 1): A is the ceiling, B the
efficiency, C_mid where half of the gain is made. A recipe that raises B alone is faster, one that raises A is better.
Curves share what they have in common as far as they say; the interval holds the error that the law makes of a curve's
own later part when that is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize

from astraios.errors import FitError
from astraios.fit.curve import Array

CENTRE = np.array([0.0, 1.0, np.log(1.5), 0.0])
WIDTH = np.array([3.0, 1.5, 0.7, 1.2])
"""Of start (logit), ceiling (logit of the share of the room above the start), log B, and log C_mid in units of the
middle of the x that were seen."""
SCATTER = 0.006
"""Standard deviation of a score around its curve beyond the sampling of items, before curves say more."""
DRAWS = 400
SHARED = 2.0
"""Curves that the prior is worth when the common part is learnt."""
HIDE = 2 / 3
"""Share of a seen curve that its later part is predicted from, to learn the law's error."""
FORM = 0.01
"""Error of the law before any later part was hidden, worth one curve."""


@dataclass(frozen=True)
class ScoreCurve:
    """Scores of one run (or recipe) along its training."""

    name: str
    x: Array
    """Steps, tokens or FLOPs, ascending, 0 allowed."""
    value: Array
    """Fractions."""
    items: float | None = None
    """Items behind each score."""
    log_size: float | None = None

    def until(self, share: float) -> ScoreCurve:
        """Its first points."""
        kept = max(3, round(share * len(self.x)))
        return replace(self, x=self.x[:kept], value=self.value[:kept])


@dataclass(frozen=True)
class Interval:
    """A number with both ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Saturating:
    """One curve, fitted."""

    name: str
    theta: Array
    draws: Array
    """(draws, parameters)."""
    unit: float
    """C_mid is counted in it."""
    top: float
    """The largest score there is."""
    last: float
    """The largest x that was seen."""
    noise: float
    form: float
    freedom: float

    def at(self, x: Array, level: float = 0.9) -> tuple[Array, Array, Array]:
        """Scores and both ends of the interval of a new evaluation at x."""
        mean, (low, high) = curve(self.theta, x / self.unit, self.top), self._ends(x, level)
        return mean, np.clip(np.minimum(low, mean), 0, self.top), np.clip(np.maximum(high, mean), 0, self.top)

    def _ends(self, x: Array, level: float) -> Array:
        rng = np.random.default_rng(0)
        drawn = np.stack([curve(theta, x / self.unit, self.top) for theta in self.draws])
        beyond = np.sqrt(np.maximum(np.log(np.maximum(x, 1e-12) / self.last), 0.0) / np.log(1 / HIDE))
        spread = np.hypot(self.noise, self.form * np.minimum(beyond, 3.0))
        drawn = drawn + spread * rng.standard_t(self.freedom, (len(drawn), 1))
        return np.asarray(np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0))

    def parameter(self, name: str, level: float = 0.9) -> Interval:
        """ceiling, efficiency, midpoint or start."""
        values = [natural(theta, self.unit, self.top)[name] for theta in (self.theta, *self.draws)]
        low, high = np.quantile(values[1:], [(1 - level) / 2, (1 + level) / 2])
        return Interval(values[0], float(min(low, values[0])), float(max(high, values[0])))

    def reach(self, score: float, level: float = 0.9) -> Interval | None:
        """The x at which a score is reached; None where more than half of the draws stay below it."""
        found = np.sort([_inverse(theta, score, self.top) for theta in self.draws]) * self.unit
        if np.isfinite(found).mean() < 0.5:
            return None
        ends = np.quantile(found, [(1 - level) / 2, 0.5, (1 + level) / 2], method="inverted_cdf")
        return Interval(float(ends[1]), float(ends[0]), float(ends[2]))


def curve(theta: Array, x: Array, top: float) -> Array:
    """Scores at x, counted in its unit."""
    start = top / (1 + np.exp(-theta[0]))
    ceiling = start + (top - start) / (1 + np.exp(-theta[1]))
    log_ratio = theta[3] - np.log(np.maximum(x, 1e-300))
    return np.asarray(start + (ceiling - start) / (1 + np.exp(np.clip(np.exp(theta[2]) * log_ratio, -700, 700))))


def natural(theta: Array, unit: float, top: float) -> dict[str, float]:
    """Parameters by name."""
    start = float(top / (1 + np.exp(-theta[0])))
    return {
        "start": start, "ceiling": float(start + (top - start) / (1 + np.exp(-theta[1]))),
        "efficiency": float(np.exp(theta[2])), "midpoint": float(unit * np.exp(theta[3])),
    }  # fmt: skip


def _inverse(theta: Array, score: float, top: float) -> float:
    known = natural(theta, 1.0, top)
    if score <= known["start"]:
        return 0.0
    if score >= known["ceiling"]:
        return float("inf")
    share = (score - known["start"]) / (known["ceiling"] - known["start"])
    return float(known["midpoint"] * (share / (1 - share)) ** (1 / known["efficiency"]))


@dataclass(frozen=True)
class _One:
    theta: Array
    covariance: Array
    residual: Array


SHIFTS = ((0.0, 0.0, 0.0), (1.0, 0.7, -0.7), (-1.0, 0.7, 0.7))
"""Starts of a fit, by how far ceiling, efficiency and midpoint lie from the prior's."""


def _fit(
    one: ScoreCurve, unit: float, top: float, centre: Array, width: Array, scatter: float,
    shifts: Sequence[tuple[float, float, float]] = SHIFTS,
) -> _One:  # fmt: skip
    x = one.x / unit
    sampling = one.value * (top - one.value) / one.items if one.items else np.zeros_like(x)
    sigma = np.sqrt(scatter**2 + sampling)
    share = np.clip(one.value[0] / top, 0.005, 0.995)
    begin = centre + np.array([np.log(share / (1 - share)), 0.0, 0.0, 0.0])

    def residual(theta: Array) -> Array:
        return np.concatenate([(curve(theta, x, top) - one.value) / sigma, (theta - begin) / width])

    starts = [begin + np.array([0.0, *shift]) for shift in shifts]
    found = min((optimize.least_squares(residual, start) for start in starts), key=lambda f: f.cost)
    gap = curve(found.x, x, top) - one.value
    return _One(found.x, np.linalg.inv(found.jac.T @ found.jac), np.asarray(gap))


def _together(curves: Sequence[ScoreCurve], unit: float, top: float) -> tuple[list[_One], Array, Array, float]:
    """Fits that share what they have in common: their prior's centre and width, and the scatter, are learnt."""
    centre, width, scatter = CENTRE.copy(), WIDTH.copy(), SCATTER
    fits: list[_One] = []
    for _ in range(3):
        fits = [_fit(one, unit, top, centre, width, scatter) for one in curves]
        theta = np.stack([fit.theta for fit in fits])
        own = np.stack([np.diag(fit.covariance) for fit in fits])
        count = len(fits)
        centre[1:] = (SHARED * CENTRE[1:] + theta[:, 1:].sum(0)) / (SHARED + count)
        spread = ((theta[:, 1:] - centre[1:]) ** 2 + own[:, 1:]).sum(0)
        width[1:] = np.sqrt((SHARED * WIDTH[1:] ** 2 + spread) / (SHARED + count))
        free = max(sum(len(fit.residual) for fit in fits) - 4 * count, 1)
        square = sum(float((fit.residual**2).sum()) for fit in fits)
        scatter = float(np.sqrt((4 * SCATTER**2 + square) / (4 + free)))
    return fits, centre, width, scatter


def saturating(curves: Sequence[ScoreCurve], top: float = 1.0, seed: int = 0) -> list[Saturating]:
    """Curves that level off, fitted together.

    Args:
        curves: of one task; of several runs, sizes or recipes.
        top: the largest score there is.
        seed: of the draws.

    Raises:
        FitError: a curve with fewer than three scores.
    """
    for one in curves:
        if len(one.x) < 3 or one.x[-1] <= 0:
            raise FitError(f"{one.name}: a curve that levels off needs three scores along its training")
    unit = float(np.median([one.x[-1] for one in curves]) / 2)
    fits, _, _, scatter = _together(curves, unit, top)
    form, freedom = _form(curves, unit, top)
    rng = np.random.default_rng(seed)
    return [
        Saturating(
            one.name, fit.theta, rng.multivariate_normal(fit.theta, fit.covariance, DRAWS, method="eigh"), unit, top,
            float(one.x[-1]), scatter, form, freedom,
        )
        for one, fit in zip(curves, fits, strict=True)
    ]  # fmt: skip


def _form(curves: Sequence[ScoreCurve], unit: float, top: float) -> tuple[float, float]:
    """Root mean square error of the law at the hidden later part of each curve, and its degrees of freedom."""
    early = [one.until(HIDE) for one in curves]
    squares = [FORM**2]
    if all(len(a.x) < len(b.x) for a, b in zip(early, curves, strict=True)):
        fits, *_ = _together(early, unit, top)
        for fit, one, seen in zip(fits, curves, early, strict=True):
            gap = curve(fit.theta, one.x[len(seen.x) :] / unit, top) - one.value[len(seen.x) :]
            squares.append(float(np.mean(gap**2)))
    return float(np.sqrt(np.mean(squares))), float(len(squares) + 1)


def of_size(
    curves: Sequence[ScoreCurve], log_size: float, top: float = 1.0, seed: int = 0, name: str = "new size"
) -> Saturating:
    """What a size that was not run would do.

    What a score still lacks falls as a power of the training, log(1 - R / top) = E(N) - k log x (Tan et al., 2025,
    arXiv:2509.25300). E and k are lines in log size, k's drawn to no slope, since it saturates; sizes spread around
    both. Curves that are drawn so are fitted as those of runs are.

    Args:
        curves: of one task and recipe, with their sizes.
        log_size: the size.
        top: the largest score there is.
        seed: of the draws.
        name: what the curve is called.

    Raises:
        FitError: fewer than two sizes.
    """
    sizes = np.array([one.log_size for one in curves], float)
    if len(np.unique(sizes)) < 2:
        raise FitError("curves of two sizes at least are needed to say what another size would do")
    unit = float(np.median([one.x[-1] for one in curves]) / 2)
    _, centre, width, scatter = _together(curves, unit, top)
    last = float(max(one.x[-1] for one in curves))
    grid = np.geomspace(min(one.x[one.x > 0][0] for one in curves), last, ACROSS_POINTS)
    rng = np.random.default_rng(seed)
    expected, *drawn = _across(curves, sizes, log_size, grid, top, rng)
    theta = _fit(expected, unit, top, centre, width, scatter).theta
    draws = np.stack([_fit(one, unit, top, centre, width, scatter, SHIFTS[:1]).theta for one in drawn])
    form, freedom = _form(curves, unit, top)
    return Saturating(name, theta, draws, unit, top, last, scatter, form, freedom)


ACROSS, ACROSS_POINTS = 150, 16
"""Curves that are drawn of a size that was not run, and their points."""
ROOM, POWER, START = (0.2, 0.5), (0.1, 0.1), (1.0, 0.5)
"""Of E, of k and of the logit of the start, before sizes say more: the spread of sizes around their line, and what the
line changes as size grows e-fold."""


def _across(
    curves: Sequence[ScoreCurve], sizes: Array, log_size: float, grid: Array, top: float, rng: np.random.Generator
) -> list[ScoreCurve]:
    """Curves of a size at the start and on a grid, the expected one first, then draws."""
    middle = float(np.mean(np.log(grid)))
    level, power, bend = np.array([_line(one, middle, top) for one in curves]).T
    far, count = np.log(grid) - middle, len(curves)
    mean, spread = _at_size(sizes, level, log_size, *ROOM)
    k, k_spread = _at_size(sizes, power, log_size, *POWER)
    share = np.clip([one.value[0] / top for one in curves], 0.005, 0.995)
    begin, begin_spread = _at_size(sizes, np.log(share / (1 - share)), log_size, *START)
    t = rng.standard_t(max(count - 1, 2), (ACROSS, 4))
    t = np.concatenate([np.zeros((1, 4)), t])
    # Curves are not quite straight in these axes; how they bend differs from size to size.
    shape = far**2 - np.mean(far**2)
    shape = shape / np.sqrt(np.mean(shape**2)) * np.sqrt(np.mean(bend**2))
    room = mean + spread * t[:, :1] - (k + k_spread * t[:, 1:2]) * far + shape * t[:, 2:3]
    scores = top * (1 - np.exp(np.minimum(room, 0.0)))
    # A start that is drawn lies no higher than what follows.
    starts = np.minimum(top / (1 + np.exp(-(begin + begin_spread * t[:, 3]))), scores[:, 0])
    at = np.concatenate([[0.0], grid])
    return [ScoreCurve("drawn", at, np.array([first, *rest])) for first, rest in zip(starts, scores, strict=True)]


def _line(one: ScoreCurve, middle: float, top: float) -> tuple[float, float, float]:
    """Level at the middle and power of what a curve lacks, and the root mean square of what is left."""
    seen = one.x > 0
    far, room = np.log(one.x[seen]) - middle, np.log(np.clip(1 - one.value[seen] / top, 1e-3, 1.0))
    slope, level = np.polyfit(far, room, 1)
    return float(level), float(-slope), float(np.sqrt(np.mean((level + slope * far - room) ** 2)))


def _at_size(sizes: Array, values: Array, log_size: float, typical: float, slope: float) -> tuple[float, float]:
    """A line in log size at one size, and the spread of a size there."""
    middle = sizes.mean()
    design, row = np.column_stack([np.ones(len(sizes)), sizes - middle]), np.array([1.0, log_size - middle])
    inverse = np.linalg.inv(design.T @ design / typical**2 + np.diag([1e-9, 1 / slope**2]))
    line = inverse @ (design.T @ values) / typical**2
    spread = _spread(values - design @ line, typical, len(sizes) - 2)
    return float(row @ line), float(spread * np.sqrt(1 + row @ inverse @ row / typical**2))


def _spread(off: Array, typical: float, freedom: int) -> float:
    """Spread of what is left, from a typical one that counts for two."""
    return float(np.sqrt((2 * typical**2 + np.sum(off**2)) / (2 + max(freedom, 0))))


@dataclass(frozen=True)
class Ranked:
    """One curve among others."""

    name: str
    ceiling: Interval
    efficiency: Interval
    midpoint: Interval
    reach: Interval | None
    """The x at which the score that was asked for is reached; None where it is not."""
    at: float
    """The last x of its curve; of a size that was not run, the last of all."""
    score: Interval
    """Of a new evaluation there."""
    p_highest: float | None
    """That its ceiling is the highest of those that were run; None for a size that was not."""


def ranked(fits: Sequence[Saturating], score: float | None = None, level: float = 0.9) -> list[Ranked]:
    """Curves by their ceilings, highest first, with what each takes to reach a score."""
    tops = np.stack([[natural(theta, f.unit, f.top)["ceiling"] for theta in f.draws] for f in fits])
    best = (tops == tops.max(0)).mean(1)
    found = [told(fit, score, level, float(p)) for fit, p in zip(fits, best, strict=True)]
    return sorted(found, key=lambda one: -one.ceiling.value)


def told(fit: Saturating, score: float | None = None, level: float = 0.9, p_highest: float | None = None) -> Ranked:
    """One curve in numbers."""
    ceiling, efficiency, midpoint = (fit.parameter(name, level) for name in ("ceiling", "efficiency", "midpoint"))
    reach = None if score is None else fit.reach(score, level)
    mean, low, high = (float(one[0]) for one in fit.at(np.array([fit.last]), level))
    return Ranked(fit.name, ceiling, efficiency, midpoint, reach, fit.last, Interval(mean, low, high), p_highest)
