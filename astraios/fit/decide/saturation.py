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


def _fit(one: ScoreCurve, unit: float, top: float, centre: Array, width: Array, scatter: float) -> _One:
    x = one.x / unit
    sampling = one.value * (top - one.value) / one.items if one.items else np.zeros_like(x)
    sigma = np.sqrt(scatter**2 + sampling)
    share = np.clip(one.value[0] / top, 0.005, 0.995)
    begin = centre + np.array([np.log(share / (1 - share)), 0.0, 0.0, 0.0])

    def residual(theta: Array) -> Array:
        return np.concatenate([(curve(theta, x, top) - one.value) / sigma, (theta - begin) / width])

    starts = [begin + np.array([0.0, a, b, c]) for a, b, c in ((0, 0, 0), (1, 0.7, -0.7), (-1, 0.7, 0.7))]
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


def of_size(curves: Sequence[ScoreCurve], log_size: float, top: float = 1.0, seed: int = 0) -> Saturating:
    """What a size that was not run would do: each parameter as a line in log size, drawn to no slope.

    Raises:
        FitError: fewer than two sizes.
    """
    sizes = np.array([one.log_size for one in curves], float)
    if len(np.unique(sizes)) < 2:
        raise FitError("curves of two sizes at least are needed to say what another size would do")
    unit = float(np.median([one.x[-1] for one in curves]) / 2)
    fits, _, width, scatter = _together(curves, unit, top)
    theta = np.stack([fit.theta for fit in fits])
    middle = sizes.mean()
    design = np.column_stack([np.ones(len(sizes)), sizes - middle])
    row = np.array([1.0, log_size - middle])
    centres, spreads = np.empty(4), np.empty(4)
    for k in range(4):
        noise = np.array([fit.covariance[k, k] for fit in fits]) + (0.3 * (WIDTH[0] if k == 0 else width[k])) ** 2
        precision = design.T @ (design / noise[:, None]) + np.diag([1e-6, 1.0 / SLOPE[k] ** 2])
        inverse = np.linalg.inv(precision)
        line = inverse @ (design.T @ (theta[:, k] / noise))
        left = float(np.mean((theta[:, k] - design @ line) ** 2))
        centres[k], spreads[k] = row @ line, np.sqrt(row @ inverse @ row + left)
    rng = np.random.default_rng(seed)
    draws = centres + spreads * rng.standard_t(max(len(curves) - 1, 2), (DRAWS, 4))
    form, freedom = _form(curves, unit, top)
    last = float(max(one.x[-1] for one in curves))
    return Saturating("new size", centres, draws, unit, top, last, scatter, form, freedom)


SLOPE = np.array([1.0, 0.5, 0.3, 0.3])
"""Typical change of each parameter as size grows e-fold."""


@dataclass(frozen=True)
class Ranked:
    """One curve among others."""

    name: str
    ceiling: Interval
    efficiency: Interval
    midpoint: Interval
    reach: Interval | None
    """The x at which the score that was asked for is reached; None where it is not."""
    p_highest: float
    """That its ceiling is the highest."""


def ranked(fits: Sequence[Saturating], score: float | None = None, level: float = 0.9) -> list[Ranked]:
    """Curves by their ceilings, highest first, with what each takes to reach a score."""
    tops = np.stack([[natural(theta, f.unit, f.top)["ceiling"] for theta in f.draws] for f in fits])
    best = (tops == tops.max(0)).mean(1)
    found = []
    for fit, p in zip(fits, best, strict=True):
        ceiling, efficiency, midpoint = (fit.parameter(name, level) for name in ("ceiling", "efficiency", "midpoint"))
        reach = None if score is None else fit.reach(score, level)
        found.append(Ranked(fit.name, ceiling, efficiency, midpoint, reach, float(p)))
    return sorted(found, key=lambda one: -one.ceiling.value)
