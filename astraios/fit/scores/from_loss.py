"""Scores from loss: links fitted to all methods at once, weighed by rolling hold-outs, drawn jointly with the loss.

Members (a link with one chance level) are weighed by what they would have said of larger sizes and better losses than
they were fitted to. The same errors say how far the average is off, growing with the distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.calibration import CALIBRATION
from astraios.fit.curve import Array, Mask
from astraios.fit.links import Link
from astraios.fit.optimise import Problems, inverse_of, minimise
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.rolling import NEAR, Member, by_link, members, rungs, weigh, weights_at
from astraios.fit.scores.scale import Scale

LEAST = 3
"""Points that a rolling hold-out must keep."""
WORSE = 12
"""Points from which on the worse losses alone are a hold-out too."""


@dataclass(frozen=True)
class LinkFit:
    """One link with one chance level, fitted to the scores of a task."""

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
class Shifts:
    """What each method has beyond the shared curve, shrunk as strongly as the scatter says."""

    mean: dict[str, float]
    error: dict[str, float]
    between: float
    """Standard deviation between methods: what a method that was not seen may have."""

    def of(self, group: str) -> tuple[float, float]:
        """A method's shift, and its standard error."""
        return self.mean.get(group, 0.0), self.error.get(group, self.between)


@dataclass(frozen=True)
class ScoreModel:
    """All members for one task, their weights, and each method's own shift."""

    data: ScoreData
    """In the metric's own unit and direction."""
    shares: ScoreData
    """The same as links see it."""
    scale: Scale
    members: tuple[Member, ...]
    fits: tuple[LinkFit, ...]
    """Of each member."""
    weights: Array
    """Of the members, within the data."""
    errors: tuple[float, ...]
    """Rolling error of each member, a fraction; NaN where nothing could be hidden."""
    form: float
    """Error of the average beyond the data that noise does not explain, per spread of the losses."""
    shifts: Shifts
    splits: tuple[Mask, ...] = ()
    """Rows that each rolling hold-out kept."""
    tried: tuple[tuple[LinkFit, ...], ...] = ()
    """Fits of each member to each of them."""

    @property
    def best(self) -> LinkFit:
        """The member with the largest weight."""
        return self.fits[int(np.argmax(self.weights))]

    @property
    def by_link(self) -> dict[str, float]:
        """Weight of each link within the data, over the chance levels."""
        return by_link(self.members, self.weights)

    @property
    def follows(self) -> bool:
        """Whether some curve beats the constant at hidden sizes; the isotonic link holds the constant as a limit."""
        named = self.by_link
        return len(named) == 1 or max(named.keys() - {"isotonic"}, key=lambda name: named[name]) != "constant"

    def distance(self, loss: Array) -> Array:
        """How far losses lie outside of those that were seen, in their spreads."""
        return _outside(loss, self.data.loss, self.best.scale)

    def point(self, loss: Array, group: str) -> Array:
        """Best estimate at losses (points,)."""
        each = np.stack([fit.predict(loss) for fit in self.fits])
        weights = weights_at(self.weights, self.members, self.distance(loss), _levels(self.shares))
        score = (weights * each).sum(0) + self.shifts.of(group)[0]
        return self.scale.outside(self.scale.held(score, self.shares.ceiling))

    def draw(self, rng: np.random.Generator, loss: Array, group: str) -> tuple[Array, Array]:
        """Scores for draws of the loss (draws,): the mean there and one new evaluation, (draws,) each."""
        count, far = len(loss), self.distance(loss)
        which = rng.choice(
            len(self.fits), count, p=weights_at(self.weights, self.members, float(np.median(far)), _levels(self.shares))
        )
        score = np.empty(count)
        for k, fit in enumerate(self.fits):
            rows = np.flatnonzero(which == k)
            if rows.size:
                theta = rng.multivariate_normal(fit.theta, fit.covariance, rows.size, method="eigh")
                score[rows] = fit.link.evaluate(theta, fit.x(loss[rows])[:, :, None])[0][:, 0]
        shift, error = self.shifts.of(group)
        learnt = CALIBRATION["score_from_loss"]
        form = self.form * np.hypot(far, NEAR) * rng.standard_t(learnt["freedom"], count)
        score = score + shift + error * rng.standard_normal(count) + learnt["scale"] * form
        top, items = self.shares.ceiling, self.shares.items
        score = self.scale.held(score, top)
        share = np.clip(score, 0.0, 1.0)
        scatter = np.hypot(np.sqrt((share * (1 - share) + 1 / items) / items), self.best.dispersion)
        new = self.scale.held(score + scatter * rng.standard_normal(count), top)
        return self.scale.outside(score), self.scale.outside(new)


def _levels(data: ScoreData) -> int:
    return len(np.unique(data.loss))


def _outside(loss: Array, seen: Array, scale: float) -> Array:
    return np.maximum(np.maximum(seen.min() - loss, loss - seen.max()), 0.0) / scale


@dataclass(frozen=True)
class _Batch:
    """Fits of one link that are made together: each sees some of the rows, and has a chance level."""

    data: ScoreData
    seen: Sequence[Mask]
    chances: Sequence[float]

    @property
    def centre(self) -> Array:
        return np.array([self.data.loss[mask].mean() for mask in self.seen])

    @property
    def scale(self) -> Array:
        return np.array([float(self.data.loss[mask].std()) or 1.0 for mask in self.seen])

    def x(self) -> Array:
        """(3, fits, points)."""
        z = (self.centre[:, None] - self.data.loss) / self.scale[:, None]
        chance = np.broadcast_to(np.array(self.chances)[:, None], z.shape)
        return np.stack([z, chance, np.full_like(z, self.data.ceiling)])


def fit_links(link: Link, data: ScoreData, seen: Sequence[Mask], chances: Sequence[float]) -> list[LinkFit]:
    """Weighted least squares with the standard errors, then twice more with the scatter beyond them.

    Args:
        link: the form.
        data: one metric of one task.
        seen: for each fit the rows that it is made from.
        chances: for each fit its chance level.
    """
    batch = _Batch(data, seen, chances)
    x, masks, top = batch.x(), np.array(seen, float), data.ceiling
    priors = [link.prior(float(data.value[m].mean()), c, top) for m, c in zip(seen, chances, strict=True)]
    mean, width = (np.stack(part) for part in zip(*priors, strict=True))
    slopes = [_slope(row[m], data.value[m]) for row, m in zip(x[0], seen, strict=True)]
    starts = [link.starts(m, w, s) for m, w, s in zip(mean, width, slopes, strict=True)]
    each = [len(one) for one in starts]
    rows, start = np.repeat(np.arange(len(seen)), each), np.concatenate(starts)
    dispersion, solution = np.zeros(len(seen)), None
    for _ in range(3):
        weights = masks / (data.stderr**2 + dispersion[:, None] ** 2)
        problems = Problems(
            link, x[:, rows], data.value[None], weights[rows], np.full((1, 1), np.inf), mean[rows],
            1 / width[rows] ** 2, *link.bounds(),
        )  # fmt: skip
        solution = minimise(problems, start, 100, 1e-9)
        best = np.array([np.flatnonzero(rows == k)[solution.objective[rows == k].argmin()] for k in range(len(seen))])
        start, rows = solution.theta[best], np.arange(len(seen))
        value, jacobian = link.evaluate(start, x)
        residual = (value - data.value) * masks
        free = np.maximum(masks.sum(1) - _used(jacobian, weights, width), 1)
        dispersion = np.sqrt(np.maximum((residual**2 - data.stderr**2 * masks).sum(1) / free, 0.0))
    assert solution is not None
    covariance = inverse_of(solution.hessian[best], 1 / width**2)
    return [
        LinkFit(link, start[k], covariance[k], float(batch.centre[k]), float(batch.scale[k]), float(chances[k]), top,
                float(dispersion[k]), float(solution.objective[best[k]]))
        for k in range(len(seen))
    ]  # fmt: skip


def _used(jacobian: Array, weights: Array, width: Array) -> Array:
    """Degrees of freedom that fits take, (fits,): of parameters that the prior holds, the part that the data move."""
    information = (jacobian * weights[:, None, :]) @ jacobian.transpose(0, 2, 1)
    prior = np.eye(width.shape[1]) / width[:, None, :] ** 2
    return np.einsum("fij,fji->f", np.linalg.inv(information + prior), information)


def _slope(z: Array, value: Array) -> float:
    return float(np.corrcoef(z, value)[0, 1]) if value.std() > 0 and z.std() > 0 else 0.0


def build(data: ScoreData, only: str = "auto") -> ScoreModel:
    """Fit every link, weigh them by what they would have said about better losses, and add methods' shifts.

    Args:
        data: one metric of one task.
        only: the link to consider; auto considers all.

    Raises:
        UsageError: no such link.
    """
    scale = Scale.of(data)
    own, data = data, scale.data(data)
    found, splits = members(data, only), _splits(data)
    masks = [np.ones(len(data), bool), *splits]
    made: list[list[LinkFit]] = []
    for link in dict.fromkeys(one.link for one in found):
        chances = [one.chance for one in found if one.link is link]
        fits = fit_links(link, data, [m for _ in chances for m in masks], [c for c in chances for _ in masks])
        made += [fits[k * len(masks) : (k + 1) * len(masks)] for k in range(len(chances))]
    whole = tuple(mine[0] for mine in made)
    errors = [_errors(data, splits, mine[1:]) for mine in made]
    weights, rolled = weigh(found, errors, float(np.mean(data.stderr**2)))
    form = _form(data, splits, errors, weights, found)
    return ScoreModel(
        own,
        data,
        scale,
        found,
        whole,
        weights,
        rolled,
        form,
        _shifts(data, whole, weights),
        tuple(splits),
        tuple(tuple(mine[1:]) for mine in made),
    )


def errors_at(model: ScoreModel, seen: Mask, loss: Array) -> Array:
    """Errors of the average at what one rolling hold-out hid, were the losses there `loss`; shares."""
    s = next(k for k, mask in enumerate(model.splits) if (mask == seen).all())
    data, fits = model.shares, [mine[s] for mine in model.tried]
    train, hidden = data.keep(seen), data.keep(~seen)
    far = _outside(loss, train.loss, float(train.loss.std()) or 1.0)
    shifts = _shifts(train, fits, model.weights)
    each = np.stack([fit.predict(loss) for fit in fits])
    moved = np.array([shifts.of(group)[0] for group in hidden.group])
    return (weights_at(model.weights, model.members, far, _levels(train)) * each).sum(0) + moved - hidden.value


def _splits(data: ScoreData) -> list[Mask]:
    """What rolling hold-outs keep: all but the one, two and three largest sizes, and the worse losses alone."""
    masks = [data.log_size < cut - 1e-9 for cut in rungs(data.log_size)[:0:-1][:3]]
    if len(data) >= WORSE:
        masks += [data.loss > np.quantile(data.loss, share) for share in (0.35, 0.55)]
    kept: list[Mask] = []
    for mask in masks:
        if mask.sum() >= LEAST and not any((mask == other).all() for other in kept):
            kept.append(mask)
    return kept


def _errors(data: ScoreData, splits: Sequence[Mask], fits: Sequence[LinkFit]) -> list[Array]:
    """Errors of one member at what each split hides."""
    found = []
    for seen, fit in zip(splits, fits, strict=True):
        shifts = _shifts(data.keep(seen), [fit], np.ones(1))
        hidden = data.keep(~seen)
        moved = np.array([shifts.of(group)[0] for group in hidden.group])
        found.append(fit.predict(hidden.loss) + moved - hidden.value)
    return found


def _form(
    data: ScoreData, splits: Sequence[Mask], errors: Sequence[Sequence[Array]], weights: Array, found: Sequence[Member]
) -> float:
    """Error of the average per spread of distance: as other tables have it, and as the rolling hold-outs show it."""
    learnt = CALIBRATION["score_from_loss"]
    spread = float(np.hypot(data.value.std(), learnt["emerging"]))
    total, worth = learnt["splits"] * (learnt["form"] * spread) ** 2, float(learnt["splits"])
    for s, seen in enumerate(splits):
        train, hidden = data.keep(seen), data.keep(~seen)
        far = _outside(hidden.loss, train.loss, float(train.loss.std()) or 1.0)
        average = (weights_at(weights, found, far, _levels(train)) * np.stack([mine[s] for mine in errors])).sum(0)
        excess = np.maximum(average**2 - hidden.stderr**2, 0.0) / (far**2 + NEAR**2)
        total, worth = total + float(excess.mean()), worth + 1
    return float(np.sqrt(total / worth))


def _shifts(data: ScoreData, fits: Sequence[LinkFit], weights: Array) -> Shifts:
    residual = data.value - sum(w * fit.predict(data.loss) for w, fit in zip(weights, fits, strict=True))
    learnt = CALIBRATION["score_from_loss"]
    prior, worth = (learnt["between"] * float(np.hypot(data.value.std(), learnt["emerging"]))) ** 2, learnt["methods"]
    names = sorted(set(data.group))
    group = np.array(data.group)
    if len(names) < 2 or len(data) < 2 * len(names):
        return Shifts({}, {}, float(np.sqrt(prior)))
    means = np.array([residual[group == name].mean() for name in names])
    within = sum(((residual[group == n] - m) ** 2).sum() for n, m in zip(names, means, strict=True))
    noise = max(within / max(len(data) - len(names), 1), float(np.mean(data.stderr**2)) * 0.5)
    counts = np.array([(group == name).sum() for name in names])
    seen = max(float(means.var(ddof=1)) - float(np.mean(noise / counts)), 0.0)
    between = (worth * prior + (len(names) - 1) * seen) / (worth + len(names) - 1)
    keep = between / (between + noise / counts)
    error = np.sqrt(keep * noise / counts)
    return Shifts(
        dict(zip(names, map(float, keep * means), strict=True)), dict(zip(names, map(float, error), strict=True)),
        float(np.sqrt(between)),
    )  # fmt: skip
