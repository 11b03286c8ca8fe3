"""Tuned axes: the loss of each point at the best learning rate, and where that rate lies.

Near its optimum the log loss of a point is a parabola in the log of the rate (the shape that Li et al., 2025,
arXiv:2503.04715, find for learning rate and batch size alike):

    y = m_p + sum_j k_j (x_j - mu_pj)^2 + noise        x_j = log of the j-th tuned value, p = point

with curvatures k_j a series, shrunk towards those of all series, and optima mu_pj that move linearly with log size and
log data, plus what a single point deviates from that line. Written as alpha_p + beta_pj x_j + k_j x_j^2 it is linear:
one mixed model (Henderson's equations, restricted likelihood) takes in all runs, so that points with few rates lean on
the others. Tuned facts without an order (a schedule) have an effect a level. What counts is m_p and not the luckiest
run; its estimate is freed of the luck that is left in a fitted minimum (the slope's variance there over 4 k). Where an
optimum lies at the edge of what was tried, or beyond it, the loss at the edge counts, and the point is named: that loss
is an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array, Mask

WINDOW = 0.08
"""Runs whose expected log loss is further than this above the optimum's are not on the parabola any more."""
FIRST_WINDOW = 0.3
"""The same before anything has been fitted, by what was observed."""
PASSES = 5
RATIOS = (0.0, 0.01, 0.1, 1.0, 10.0, 100.0, 1e4)
"""Candidates for the variance of a point's own slope over the noise's, values being a standard deviation apart."""
EXPONENT_SD = 0.15
"""Prior spread of the optimum's exponents in size and data; published ones lie between -0.7 and 0.3."""


@dataclass(frozen=True)
class TunedSeries:
    """The runs of one series.

    Args:
        name: the series.
        inputs: log inputs of each point, (points, inputs).
        point: number of each run's point, (runs,).
        x: log of the tuned values that have an order, (runs, axes).
        levels: one column of zeros and ones a level of the facts without an order, (runs, levels).
        y: log loss, (runs,).
    """

    name: str
    inputs: Array
    point: Array
    x: Array
    levels: Array
    y: Array

    def keep(self, mask: Mask) -> TunedSeries:
        """The runs where `mask` is true; points keep their numbers."""
        return TunedSeries(self.name, self.inputs, self.point[mask], self.x[mask], self.levels[mask], self.y[mask])

    def tried(self, p: int, j: int) -> Array:
        """Distinct values of an axis at a point, ascending."""
        return np.unique(np.round(self.x[self.point == p, j], 9))


@dataclass(frozen=True)
class OptimumLaw:
    """log optimum = c + sum of exponent x log input, as a power law (Step Law, arXiv:2503.04715)."""

    coefficients: Array
    """Constant and exponents, (1 + inputs,)."""
    covariance: Array
    scatter: float
    """Standard deviation of a point's own optimum around the law, in log."""
    degrees: int
    """Degrees of freedom of the noise's estimate."""

    def at(self, inputs: Array, level: float) -> tuple[float, float, float]:
        """Best value and both ends of its interval, at log inputs."""
        from scipy.stats import t

        row = np.concatenate([[1.0], inputs])
        centre = float(row @ self.coefficients)
        spread = float(np.sqrt(max(row @ self.covariance @ row, 0.0) + self.scatter**2))
        half = float(t.ppf(0.5 + level / 2, self.degrees)) * spread
        return float(np.exp(centre)), float(np.exp(centre - half)), float(np.exp(centre + half))


@dataclass(frozen=True)
class Best:
    """One series at its best values."""

    log_loss: Array
    """(points,)"""
    stderr: Array
    """Standard error of `log_loss`, (points,)."""
    optimum: Array
    """Log of the best values inside what was tried, (points, axes)."""
    edge: Mask
    """Whether the best value is at the edge of what was tried, (points, axes)."""
    laws: tuple[OptimumLaw | None, ...]
    """How the optimum of each axis moves; None where no point brackets it."""
    level: int | None
    """The best level of the facts without an order."""


@dataclass(frozen=True)
class TunedFit:
    """All series at their best, and the noise of a single run in log loss."""

    series: tuple[Best, ...]
    sigma: float
    degrees: int


def at_best(series: Sequence[TunedSeries]) -> TunedFit:
    """Each point's loss at the best values of its tuned axes.

    Args:
        series: all series of the analysis, with the same axes and levels.
    """
    kept = [one.keep(_near_by_sight(one)) for one in series]
    for _ in range(PASSES):
        systems = [_System(one) for one in kept]
        prior = _curvatures(systems)
        sigma2 = _rough_noise(systems)
        ratio = min(RATIOS, key=lambda r: _criterion(systems, prior, sigma2, r))
        solved = [system.solve(prior, sigma2, ratio) for system in systems]
        fresh = [one.keep(_near(one, fit)) for one, fit in zip(series, solved, strict=True)]
        if all(len(a.y) == len(b.y) and np.array_equal(a.x, b.x) for a, b in zip(fresh, kept, strict=True)):
            break
        kept = fresh
    degrees = max(1, round(sum(fit.freedom for fit in solved)))
    sigma = float(np.sqrt(sum(fit.rss for fit in solved) / degrees))
    best = tuple(fit.best(whole, sigma, degrees, ratio) for whole, fit in zip(series, solved, strict=True))
    return TunedFit(best, sigma, degrees)


def _near_by_sight(one: TunedSeries) -> Mask:
    """Runs near the lowest loss of their point, and at least the three values around the best."""
    keep = np.ones(len(one.y), bool)
    for p in range(len(one.inputs)):
        here = one.point == p
        if here.any():
            low = np.flatnonzero(here)[np.argmin(one.y[here])]
            keep[here] = (one.y[here] < one.y[low] + FIRST_WINDOW) | _three_nearest(one, p, one.x[low])[here]
    return keep


def _three_nearest(one: TunedSeries, p: int, centre: Array) -> Mask:
    """Runs of a point whose value on every axis is among the three nearest to a centre."""
    near = one.point == p
    for j in range(one.x.shape[1]):
        tried = one.tried(p, j)
        nearest = tried[np.argsort(np.abs(tried - centre[j]))[:3]]
        near &= np.any(np.abs(one.x[:, j : j + 1] - nearest) < 1e-8, axis=1)
    return near


def _near(one: TunedSeries, fit: _Solved) -> Mask:
    """Runs that the fit expects on the parabola."""
    keep = np.zeros(len(one.y), bool)
    for p in range(len(one.inputs)):
        centre = fit.vertex(p)
        excess = ((one.x - centre) ** 2 @ np.maximum(fit.curvature, 0.0)) < WINDOW
        keep |= (one.point == p) & (excess | _three_nearest(one, p, centre))
    return keep


class _System:
    """The least-squares system of one series, each point's own level taken out.

    Columns: for each axis x and x times each centred input, then x^2 of the axes whose curvature can be seen, then the
    levels; the points' own slopes are kept apart.
    """

    def __init__(self, one: TunedSeries) -> None:
        self.one = one
        n_points, self.n_axes = len(one.inputs), one.x.shape[1]
        self.count = np.bincount(one.point, minlength=n_points).astype(float)
        self.middle_x = one.x.mean(0) if len(one.x) else np.zeros(self.n_axes)
        self.scale_x = np.where(one.x.std(0) > 0, one.x.std(0), 1.0)
        varied = [i for i in range(one.inputs.shape[1]) if np.ptp(one.inputs[:, i]) > 1e-9]
        self.varied = self._free_of_each_other(one.inputs, varied)
        self.middle_n = one.inputs.mean(0)
        self.bent = [j for j in range(self.n_axes) if any(len(one.tried(p, j)) >= 3 for p in range(n_points))]
        self.names = self._names()
        fixed = self.rows(one.x, one.inputs[one.point], one.levels)
        own = np.zeros((len(one.y), n_points * self.n_axes))
        for j in range(self.n_axes):
            own[np.arange(len(one.y)), one.point * self.n_axes + j] = one.x[:, j] - self.middle_x[j]
        self.fixed_mean, self.fixed = self._centre(fixed)
        _, self.own = self._centre(own)
        y_mean, self.y = self._centre(one.y[:, None])
        self.y, self.y_mean = self.y[:, 0], y_mean[:, 0]

    @staticmethod
    def _free_of_each_other(inputs: Array, varied: list[int]) -> list[int]:
        """Without inputs that are a function of those before (data in a fixed proportion to size)."""
        kept: list[int] = []
        for i in varied:
            columns = inputs[:, [*kept, i]] - inputs[:, [*kept, i]].mean(0)
            if np.linalg.matrix_rank(columns, tol=1e-6 * np.abs(columns).max()) == len(kept) + 1:
                kept.append(i)
        return kept

    def _names(self) -> list[tuple[str, int, int]]:
        names = []
        for j in range(self.n_axes):
            names += [("slope", j, -1), *(("move", j, i) for i in self.varied)]
        names += [("bend", j, -1) for j in self.bent]
        return names + [("level", k, -1) for k in range(1, self.one.levels.shape[1])]

    def rows(self, x: Array, inputs: Array, levels: Array) -> Array:
        """Fixed columns at given values, (rows, columns)."""
        x, n = x - self.middle_x, inputs - self.middle_n
        made = {
            "slope": lambda j, i: x[:, j],
            "move": lambda j, i: x[:, j] * n[:, i],
            "bend": lambda j, i: x[:, j] ** 2,
            "level": lambda k, i: levels[:, k],
        }
        columns = [made[kind](a, b) for kind, a, b in self.names]
        return np.column_stack(columns) if columns else np.zeros((len(x), 0))

    def _centre(self, rows: Array) -> tuple[Array, Array]:
        """Each point's mean, and what is left of the rows."""
        sums = np.zeros((len(self.count), rows.shape[1]))
        np.add.at(sums, self.one.point.astype(int), rows)
        means = sums / np.maximum(self.count, 1.0)[:, None]
        return means, rows - means[self.one.point]

    @property
    def n_points(self) -> int:
        """Points that have runs."""
        return int((self.count > 0).sum())

    def at(self, kind: str, a: int, b: int = -1) -> int:
        """Position of a column."""
        return self.names.index((kind, a, b))

    def solve(self, prior: Array, sigma2: float, ratio: float) -> _Solved:
        """Best values under the prior of the curvatures (mean, standard deviation), (axes, 2)."""
        design = np.hstack([self.fixed, self.own]) if ratio else self.fixed
        precision, pull = np.zeros(design.shape[1]), np.zeros(design.shape[1])
        for column, (kind, j, _) in enumerate(self.names):
            mean, spread = prior[j] if kind in ("bend", "move") else (0.0, 0.0)
            if kind == "bend":
                precision[column] = sigma2 / spread**2
                pull[column] = precision[column] * mean
            elif kind == "move" and j in self.bent and mean > 0:
                precision[column] = sigma2 / (2 * mean * EXPONENT_SD) ** 2
            elif kind == "level":
                precision[column] = 1e-6
        if ratio:
            precision[len(self.names) :] = np.tile(self.scale_x**2, len(self.one.inputs)) / ratio
        matrix = design.T @ design + np.diag(np.maximum(precision, 1e-12))
        inverse = np.linalg.pinv(matrix, hermitian=True)
        theta = inverse @ (design.T @ self.y + pull)
        rss = float(np.sum((self.y - design @ theta) ** 2))
        used = float(np.sum(inverse * (design.T @ design)))
        penalty = float(
            np.sum(precision * theta**2) - 2 * pull @ theta + np.sum(pull**2 / np.maximum(precision, 1e-300))
        )
        freedom = max(len(self.y) - self.n_points - used, 0.0)
        return _Solved(
            self, theta, inverse, rss, freedom, rss + penalty, float(np.linalg.slogdet(matrix)[1]), bool(ratio)
        )


@dataclass(frozen=True)
class _Solved:
    """A system and its solution."""

    system: _System
    theta: Array
    inverse: Array
    rss: float
    freedom: float
    penalised: float
    log_determinant: float
    own: bool

    @property
    def curvature(self) -> Array:
        """Curvature of each axis, 0 where it can't be seen."""
        found = np.zeros(self.system.n_axes)
        for j in self.system.bent:
            found[j] = self.theta[self.system.at("bend", j)]
        return found

    def row(self, p: int, x: Array, derivative: int | None = None) -> Array:
        """Coefficients of a point's log loss at x (or of its slope along one axis), without the point's level."""
        system = self.system
        n, off = system.one.inputs[p] - system.middle_n, x - system.middle_x
        row = np.zeros(len(self.theta))
        for column, (kind, j, i) in enumerate(system.names):
            if kind == "level" or (derivative is not None and j != derivative):
                continue
            one = 1.0 if derivative is not None else off[j]
            row[column] = {
                "slope": one,
                "move": one * n[i],
                "bend": 2 * off[j] if derivative is not None else off[j] ** 2,
            }[kind]
        if self.own:
            start = len(system.names) + p * system.n_axes
            for j in range(system.n_axes):
                if derivative is None or j == derivative:
                    row[start + j] = 1.0 if derivative is not None else off[j]
        return row

    def vertex(self, p: int) -> Array:
        """Where a point's parabola is lowest, (axes,); far off where it has no lowest place."""
        found = np.empty(self.system.n_axes)
        for j in range(self.system.n_axes):
            slope = float(self.row(p, self.system.middle_x, derivative=j) @ self.theta)
            bend = self.curvature[j]
            found[j] = self.system.middle_x[j] + (-slope / (2 * bend) if bend > 0 else -np.sign(slope) * 1e3)
        return found

    def best(self, whole: TunedSeries, sigma: float, degrees: int, ratio: float) -> Best:
        """What counts of each point."""
        system = self.system
        n_points, covariance = len(whole.inputs), sigma**2 * self.inverse
        loss, error = np.full(n_points, np.nan), np.full(n_points, np.nan)
        optimum = np.full((n_points, system.n_axes), np.nan)
        edge = np.zeros((n_points, system.n_axes), bool)
        level, level_row = self._best_level()
        for p in map(int, np.flatnonzero(system.count)):
            tried = [whole.tried(p, j) for j in range(system.n_axes)]
            vertex = self.vertex(p)
            at = np.array([np.clip(v, t[0], t[-1]) for v, t in zip(vertex, tried, strict=True)])
            nearest = np.array([np.argmin(np.abs(t - v)) for v, t in zip(at, tried, strict=True)])
            edge[p] = [len(t) < 3 or n in (0, len(t) - 1) for t, n in zip(tried, nearest, strict=True)]
            optimum[p] = at
            mean = np.zeros(len(self.theta))
            mean[: len(system.names)] = system.fixed_mean[p]
            if self.own:
                start = len(system.names) + p * system.n_axes
                here = system.one.point == p
                mean[start : start + system.n_axes] = (system.one.x[here] - system.middle_x).mean(0)
            row = self.row(p, at) + level_row - mean
            loss[p] = system.y_mean[p] + row @ self.theta + self._luck(p, at, vertex, covariance)
            error[p] = np.sqrt(sigma**2 / system.count[p] + row @ covariance @ row)
        laws = tuple(self._law(j, covariance, degrees, sigma, ratio, edge) for j in range(system.n_axes))
        return Best(loss, error, optimum, edge, laws, level)

    def _luck(self, p: int, at: Array, vertex: Array, covariance: Array) -> float:
        """How much lower than the truth a fitted minimum is on average."""
        total = 0.0
        for j in self.system.bent:
            bend = self.curvature[j]
            if bend > 0 and abs(at[j] - vertex[j]) < 1e-9:
                row = self.row(p, at, derivative=j)
                total += float(row @ covariance @ row) / (4 * bend)
        return total

    def _best_level(self) -> tuple[int | None, Array]:
        system, row = self.system, np.zeros(len(self.theta))
        n_levels = system.one.levels.shape[1]
        if not n_levels:
            return None, row
        effects = [0.0, *(float(self.theta[system.at("level", k)]) for k in range(1, n_levels))]
        level = int(np.argmin(effects))
        if level:
            row[system.at("level", level)] = 1.0
        return level, row

    def _law(
        self, j: int, covariance: Array, degrees: int, sigma: float, ratio: float, edge: Mask
    ) -> OptimumLaw | None:
        system, bend = self.system, self.curvature[j]
        if bend <= 0 or edge[system.count > 0, j].all():
            return None
        columns = [
            system.at("slope", j),
            *(system.at("move", j, i) for i in system.varied),
            system.at("bend", j),
        ]
        theta, cov = self.theta[columns], covariance[np.ix_(columns, columns)]
        n = len(system.varied)
        jacobian = np.zeros((1 + n, 2 + n))
        jacobian[np.arange(1 + n), np.arange(1 + n)] = -1 / (2 * bend)
        jacobian[:, -1] = theta[:-1] / (2 * bend**2)
        centred, spread = -theta[:-1] / (2 * bend), jacobian @ cov @ jacobian.T
        # From centred inputs to plain ones; inputs that do not vary have no exponent.
        whole = np.zeros((1 + system.one.inputs.shape[1], 1 + n))
        whole[0, 0] = 1.0
        for place, i in enumerate(system.varied, start=1):
            whole[i + 1, place] = 1.0
            whole[0, place] = -system.middle_n[i]
        coefficients = whole @ centred
        coefficients[0] += system.middle_x[j]
        scatter = float(np.sqrt(ratio) * sigma / system.scale_x[j] / (2 * bend))
        return OptimumLaw(coefficients, whole @ spread @ whole.T, scatter, degrees)


def _curvatures(systems: Sequence[_System]) -> Array:
    """Mean and spread of the curvature over series, (axes, 2), from each series by itself (DerSimonian and Laird)."""
    n_axes = systems[0].n_axes
    found: list[list[tuple[float, float]]] = [[] for _ in range(n_axes)]
    noise = _rough_noise(systems)
    for system in systems:
        if not system.fixed.size:
            continue
        inverse = np.linalg.pinv(system.fixed.T @ system.fixed, hermitian=True)
        theta = inverse @ (system.fixed.T @ system.y)
        for j in system.bent:
            place = system.at("bend", j)
            found[j].append((float(theta[place]), float(noise * inverse[place, place])))
    rows = []
    for pairs in found:
        if not pairs:
            rows.append((0.0, 1.0))
            continue
        k, v = np.array(pairs).T
        v = np.maximum(v, 1e-18)
        mean = float(np.sum(k / v) / np.sum(1 / v))
        excess = float(np.sum((k - mean) ** 2 / v)) - (len(k) - 1)
        between = (
            max(excess / max(float(np.sum(1 / v) - np.sum(1 / v**2) / np.sum(1 / v)), 1e-300), 0.0)
            if len(k) > 1
            else 0.0
        )
        mean = float(np.sum(k / (v + between)) / np.sum(1 / (v + between)))
        rows.append((mean, float(np.sqrt(between + (0.3 * mean) ** 2)) or 1.0))
    return np.array(rows).reshape(n_axes, 2)


def _rough_noise(systems: Sequence[_System]) -> float:
    """Variance of a run's log loss around each series' own regression, points' slopes left free where runs allow it."""
    rss, freedom = 0.0, 0
    for system in systems:
        design = system.fixed
        if np.linalg.matrix_rank(np.hstack([design, system.own])) < len(system.y) - system.n_points - 2:
            design = np.hstack([design, system.own])
        theta = np.linalg.lstsq(design, system.y, rcond=None)[0] if design.size else np.zeros(0)
        rss += float(np.sum((system.y - design @ theta) ** 2)) if design.size else float(np.sum(system.y**2))
        freedom += len(system.y) - system.n_points - (int(np.linalg.matrix_rank(design)) if design.size else 0)
    return max(rss / max(freedom, 1), 1e-14)


def _criterion(systems: Sequence[_System], prior: Array, sigma2: float, ratio: float) -> float:
    """Minus twice the restricted log likelihood of a ratio, up to a constant."""
    total, quadratic, freedom = 0.0, 0.0, 0
    for system in systems:
        fit = system.solve(prior, sigma2, ratio)
        total += fit.log_determinant
        if ratio:
            scales = np.tile(system.scale_x**2, len(system.one.inputs))
            total -= float(np.sum(np.log(scales / ratio)))
        quadratic += fit.penalised
        freedom += len(system.y) - system.n_points - len(system.names)
    return total + max(freedom, 1) * float(np.log(max(quadratic, 1e-18) / max(freedom, 1)))
