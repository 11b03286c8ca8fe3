"""Scores from loss: links fitted to all methods at once, weighed by rolling hold-outs, drawn jointly with the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.links import LINKS, Link
from astraios.fit.optimise import Problems, minimise
from astraios.fit.scores.data import ScoreData

COUNTED = 6.0


@dataclass(frozen=True)
class LinkFit:
    """One link fitted to the scores of a task."""

    link: Link
    theta: Array
    """(parameters,)."""
    covariance: Array
    centre: float
    scale: float
    chance: float
    ceiling: float
    dispersion: float
    """Scatter beyond the standard errors, as a standard deviation of the score."""
    objective: float

    def x(self, loss: Array) -> Array:
        """Rows of the link for losses (nats), (3, ...)."""
        z = (self.centre - loss) / self.scale
        return np.stack([z, np.full_like(z, self.chance), np.full_like(z, self.ceiling)])

    def predict(self, loss: Array, theta: Array | None = None) -> Array:
        """Scores at losses (points,), or (draws, points) with theta (draws, parameters)."""
        if theta is None:
            return self.link.evaluate(self.theta[None], self.x(loss))[0][0]
        return self.link.evaluate(theta, self.x(loss))[0]


@dataclass(frozen=True)
class ScoreModel:
    """All links for one task, their weights, and each method's own shift."""

    data: ScoreData
    fits: tuple[LinkFit, ...]
    weights: Array
    errors: tuple[float, ...]
    """Rolling error of each link, a fraction."""
    form: float
    """Error of the average at hidden sizes that the standard errors do not explain."""
    shift: dict[str, float]
    shift_error: dict[str, float]

    @property
    def best(self) -> LinkFit:
        """The link with the largest weight."""
        return self.fits[int(np.argmax(self.weights))]

    @property
    def follows(self) -> bool:
        """Whether some curve beats the constant at hidden sizes; the isotonic link holds the constant as a limit."""
        named = {fit.link.name: w for fit, w in zip(self.fits, self.weights, strict=True)}
        return len(named) == 1 or max(named.keys() - {"isotonic"}, key=lambda name: named[name]) != "constant"

    def point(self, loss: Array, group: str) -> Array:
        """Best estimate at losses (points,)."""
        score = sum(w * fit.predict(loss) for w, fit in zip(self.weights, self.fits, strict=True))
        return np.clip(score + self.shift.get(group, 0.0), 0.0, self.data.ceiling)

    def draw(self, rng: np.random.Generator, loss: Array, group: str) -> tuple[Array, Array]:
        """Scores for draws of the loss (draws,): the mean there and one new evaluation, (draws,) each."""
        count = len(loss)
        which = rng.choice(len(self.fits), count, p=self.weights)
        score = np.empty(count)
        for k, fit in enumerate(self.fits):
            rows = np.flatnonzero(which == k)
            if rows.size:
                theta = rng.multivariate_normal(fit.theta, fit.covariance, rows.size, method="eigh")
                x = fit.x(loss[rows])[:, :, None]
                score[rows] = fit.link.evaluate(theta, x)[0][:, 0]
        default = float(np.mean(list(self.shift_error.values()))) if self.shift_error else 0.0
        score = score + self.shift.get(group, 0.0)
        score = score + self.shift_error.get(group, default) * rng.standard_normal(count)
        score = np.clip(score + self.form * rng.standard_t(5, count), 0.0, self.data.ceiling)
        binomial = np.sqrt((score * (1 - np.minimum(score, 1)) + 1 / self.data.items) / self.data.items)
        scatter = np.hypot(binomial, self.best.dispersion)
        return score, np.clip(score + scatter * rng.standard_normal(count), 0.0, self.data.ceiling)


def fit_link(link: Link, data: ScoreData) -> LinkFit:
    """Weighted least squares with the standard errors, then once more with the scatter beyond them."""
    centre = float(data.loss.mean())
    scale = float(data.loss.std()) or 1.0
    z = (centre - data.loss) / scale
    x = np.stack([z, np.full_like(z, data.chance), np.full_like(z, data.ceiling)])
    mean, width = link.prior(float(data.value.mean()), data.chance, data.ceiling)
    slope = np.corrcoef(z, data.value)[0, 1] if data.value.std() > 0 and data.loss.std() > 0 else 0.0
    start = link.starts(mean, width, float(slope))
    dispersion, solution, best = 0.0, None, 0
    for _ in range(3):
        weights = 1 / (data.stderr**2 + dispersion**2)
        problems = Problems(
            link, x, data.value[None], weights[None], np.full((1, 1), np.inf), mean[None], 1 / width[None] ** 2,
            *link.bounds(),
        )  # fmt: skip
        solution = minimise(problems, start)
        best = int(solution.objective.argmin())
        residual = link.evaluate(solution.theta[best : best + 1], x)[0][0] - data.value
        free = max(len(data) - len(mean), 1)
        excess = (residual**2 - data.stderr**2).sum() / free
        dispersion = float(np.sqrt(max(excess, 0.0)))
    assert solution is not None
    values, vectors = np.linalg.eigh(solution.hessian[best])
    covariance = (vectors / np.maximum(values, 1e-9)) @ vectors.T
    return LinkFit(
        link, solution.theta[best], covariance, centre, scale, data.chance, data.ceiling, dispersion,
        float(solution.objective[best]),
    )  # fmt: skip


def build(data: ScoreData, only: str = "auto") -> ScoreModel:
    """Fit every link, weigh them by what they would have said about the largest sizes, and add methods' shifts.

    Args:
        data: one metric of one task.
        only: the link to consider; auto considers all.

    Raises:
        UsageError: no such link.
    """
    links = list(LINKS) if only == "auto" else [LINKS.get(only)]
    fits = tuple(fit_link(link, data) for link in links)
    errors: list[list[Array]] = [[] for _ in links]
    allowed: list[Array] = []
    for train, hidden in _splits(data):
        allowed.append(np.full(len(hidden), float(np.mean(hidden.stderr**2))))
        for k, link in enumerate(links):
            fit = fit_link(link, train)
            shift, _ = _shifts(train, [fit], np.ones(1))
            moved = fit.predict(hidden.loss) + np.array([shift.get(g, 0.0) for g in hidden.group])
            errors[k].append(moved - hidden.value)
    if not errors[0]:
        weights = np.array([0.0 if link.name == "constant" and len(links) > 1 else 1.0 for link in links])
        weights = weights / weights.sum()
        rolled = tuple(float("nan") for _ in links)
        form = float(np.std(data.value)) * 0.3
    else:
        flat = [np.concatenate(e) for e in errors]
        rolled = tuple(float(np.sqrt(np.mean(e**2))) for e in flat)
        floor = float(np.mean(data.stderr**2)) / 4
        score = np.array([np.mean([np.log(np.mean(e**2) + floor) for e in es]) for es in errors])
        weights = np.exp(-0.5 * COUNTED * (score - score.min()))
        weights = weights / weights.sum()
        average = sum(w * e for w, e in zip(weights, flat, strict=True))
        form = float(np.sqrt(max(np.mean(average**2) - np.mean(np.concatenate(allowed)), 0.0)))
    shift, shift_error = _shifts(data, fits, weights)
    return ScoreModel(data, fits, weights, rolled, form, shift, shift_error)


def _splits(data: ScoreData) -> list[tuple[ScoreData, ScoreData]]:
    levels = np.unique(data.log_size)
    cuts = [level for level in levels[-2:][::-1] if (data.log_size < level - 1e-9).sum() >= 4]
    return [(data.keep(data.log_size < cut - 1e-9), data.keep(data.log_size >= cut - 1e-9)) for cut in cuts]


def _shifts(data: ScoreData, fits: Sequence[LinkFit], weights: Array) -> tuple[dict[str, float], dict[str, float]]:
    """Each method's mean residual, shrunk as strongly as the residuals' own scatter says."""
    residual = data.value - sum(w * fit.predict(data.loss) for w, fit in zip(weights, fits, strict=True))
    names = sorted(set(data.group))
    group = np.array(data.group)
    if len(names) < 3 or len(data) < 2 * len(names):
        return {}, {}
    means = np.array([residual[group == name].mean() for name in names])
    within = sum(((residual[group == n] - m) ** 2).sum() for n, m in zip(names, means, strict=True))
    noise = max(within / max(len(data) - len(names), 1), float(np.mean(data.stderr**2)) * 0.5)
    counts = np.array([(group == name).sum() for name in names])
    between = max(float(means.var(ddof=1)) - float(np.mean(noise / counts)), 0.0)
    keep = between / (between + noise / counts)
    error = np.sqrt(keep * noise / counts)
    return dict(zip(names, map(float, keep * means), strict=True)), dict(zip(names, map(float, error), strict=True))
