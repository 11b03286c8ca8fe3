"""Scores against size, where there are no losses: each link as a curve in log size, methods partially pooled.

A method's curve has parameters of its own, normal around a shared mean whose spread is learnt from the methods
(empirical Bayes); the noise of a score is its binomial error times a factor that the residuals set (quasi-binomial,
since models share their items). Links are weighed by what they would have said about the largest sizes. The same
errors say how far the form itself may be off, for all methods together and for each, growing with the distance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.calibration import CALIBRATION
from astraios.fit.curve import Array, Mask
from astraios.fit.links import Link
from astraios.fit.optimise import Problems, minimise
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.rolling import NEAR, Member, by_link, members, rungs, weigh, weights_at
from astraios.fit.scores.scale import Scale, limited

NOISE_WEIGHT = 6.0
"""Degrees of freedom that plain binomial noise has in the noise factor."""
POOL_WEIGHT = 1.0
"""Degrees of freedom that a third of the prior's width has in the spread of the methods."""
SLOPE = (0.55, 0.5)
"""Mean and deviation over tasks of other tables of the rise in log odds above chance for each natural logarithm of size
(benchmarks/score_calibration.py; a third wider than there). Of two sizes none can be held out: what they say is weighed
against it."""
LEAST_ABOVE = 0.03
"""Distance from chance and ceiling below which that slope does not shrink further."""
BY_SIZE = 0.0625
"""What a spread of log sizes costs a link against what one of losses does (`Link.far`)."""
SPECIAL = 0.3
"""Weight of special cases of another form before an error is seen: of few sizes hold-outs say little. In the loss they
say more, and all forms begin alike (benchmarks/score_calibration.py)."""
ROUNDS, SETTLED = 6, 0.01
"""Most steps of the empirical Bayes iteration, and the change (in widths of the prior) at which it stops."""
KEPT = 0.3
"""Share of what a method's largest size has beyond the curve that larger ones have too."""


@dataclass(frozen=True)
class SizeFit:
    """One link fitted to the scores of a task, against log size."""

    link: Link
    chance: float
    theta: Array
    """(methods, parameters)."""
    covariance: Array
    """(methods, parameters, parameters), given the shared mean."""
    shared: Array
    """(parameters,): mean of the methods."""
    shared_covariance: Array
    drag: Array
    """(methods, parameters, parameters): how a method's parameters follow the shared mean."""
    centre: float
    scale: float
    noise: float
    """Factor on the binomial variance."""
    objective: float
    beyond: Array
    """(methods,): what a method's largest size has beyond the curve."""

    @property
    def lean(self) -> Array:
        """(methods,): the share of that which larger sizes are taken to have too."""
        return KEPT * self.beyond

    def x(self, log_size: Array, ceiling: float) -> Array:
        """Rows of the link, (3, ...)."""
        z = (np.asarray(log_size, float) - self.centre) / self.scale
        return np.stack([z, np.full_like(z, self.chance), np.full_like(z, ceiling)])

    def curve(self, log_size: float, ceiling: float) -> Array:
        """Each method's score at a size, (methods,)."""
        return self.link.evaluate(self.theta, self.x(np.array([log_size]), ceiling))[0][:, 0] + self.lean


@dataclass(frozen=True)
class SizeModel:
    """All members for one metric of one task, their weights, and the error of the form."""

    data: ScoreData
    """In the metric's own unit and direction."""
    shares: ScoreData
    """The same as links see it."""
    scale: Scale
    names: tuple[str, ...]
    members: tuple[Member, ...]
    fits: tuple[SizeFit, ...]
    """Of each member."""
    weights: Array
    """Of the members, within the data."""
    errors: tuple[float, ...]
    """Rolling error of each member, a fraction; NaN where nothing could be hidden."""
    common: float
    """Standard deviation of the form's error that the methods share, for each spread of distance."""
    own: float
    """The same of each method alone."""
    largest: Array
    """Log of the largest size seen of each method, (methods,)."""
    tested: tuple[dict[str, float], ...] = ()
    """Errors of the average at what each rolling hold-out hid, by run; shares."""

    @property
    def best(self) -> SizeFit:
        """The member with the largest weight."""
        return self.fits[int(np.argmax(self.weights))]

    @property
    def by_link(self) -> dict[str, float]:
        """Weight of each link within the data, over the chance levels."""
        return by_link(self.members, self.weights)

    @property
    def levels(self) -> int:
        """Sizes that there are."""
        return len(rungs(self.shares.log_size))

    def distance(self, log_size: float) -> Array:
        """How far a size lies beyond the largest of each method, in spreads of the log sizes, (methods,)."""
        return np.maximum(log_size - self.largest, 0.0) / self.best.scale

    def point(self, log_size: float) -> Array:
        """Best estimate at a size, (methods,)."""
        return self.scale.outside(self._share(log_size))

    def _share(self, log_size: float) -> Array:
        parts = [fit.curve(log_size, self.shares.ceiling) for fit in self.fits]
        weights = weights_at(self.weights, self.members, BY_SIZE * self.distance(log_size), self.levels)
        return self.scale.held((weights * np.stack(parts)).sum(0), self.shares.ceiling)

    def draw(self, rng: np.random.Generator, log_size: float, count: int) -> tuple[Array, Array]:
        """The mean at a size and one new evaluation there, (methods, draws) each, methods drawn jointly."""
        mean, far = self._share(log_size), self.distance(log_size)
        costs = BY_SIZE * float(np.median(far))
        shares = rng.multinomial(count, weights_at(self.weights, self.members, costs, self.levels))
        parts = [self._curves(fit, rng, log_size, int(n)) for fit, n in zip(self.fits, shares, strict=True)]
        score = np.concatenate(parts, axis=1)[:, rng.permutation(count)]
        reach = np.hypot(far, NEAR)[:, None]
        form = reach * (self.common * rng.standard_normal(count) + self.own * rng.standard_normal(score.shape))
        learnt, items, top = CALIBRATION["score_by_size"], self.shares.items, self.shares.ceiling
        stretch = learnt["scale"] * np.sqrt(learnt["freedom"] / rng.chisquare(learnt["freedom"], count))
        score = self.scale.held(mean[:, None] + stretch * (score - mean[:, None] + form), top)
        share = np.clip(score, 0.0, 1.0)
        noise = np.sqrt(self.best.noise * (share * (1 - share) + 0.5 / items) / items)
        new = self.scale.held(score + noise * rng.standard_normal(score.shape), top)
        return self.scale.outside(score), self.scale.outside(new)

    def _curves(self, fit: SizeFit, rng: np.random.Generator, log_size: float, count: int) -> Array:
        k = len(fit.shared)
        moved = _root(fit.shared_covariance) @ rng.standard_normal((k, count))
        own = _root(fit.covariance) @ rng.standard_normal((len(self.names), k, count))
        theta = fit.theta[:, :, None] + own + fit.drag @ moved
        x = fit.x(np.array([log_size]), self.shares.ceiling)
        flat = theta.transpose(0, 2, 1).reshape(-1, k)
        return fit.link.evaluate(flat, x)[0].reshape(len(self.names), count) + fit.lean[:, None]


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]


def fit_link(link: Link, data: ScoreData, names: Sequence[str], chance: float, *, sloped: bool = False) -> SizeFit:
    """One link with one chance level to all methods of one task.

    Args:
        link: the form.
        data: one metric of one task, as shares.
        names: the methods.
        chance: of the shares.
        sloped: whether its slope is taken to be like that of other tables' tasks.
    """
    centre, scale = float(data.log_size.mean()), float(data.log_size.std()) or 1.0
    z, y, weights = _pack(data, names, centre, scale)
    x = np.stack([z, np.full_like(z, chance), np.full_like(z, data.ceiling)])
    mean, width = link.prior(float(data.value.mean()), chance, data.ceiling)
    if sloped:
        mean, width = _with_slope(link, (mean, width), data, chance, scale)
    shared, tau, noise = mean.copy(), 0.5 * width, 1.0
    if data.value.std() > 0 and data.log_size.std() > 0:
        shared = link.starts(mean, width, float(np.corrcoef(data.log_size, data.value)[0, 1]))[0]
    last = np.zeros(1)
    theta, eye = np.tile(shared, (len(names), 1)), np.eye(len(mean))
    for turn in range(ROUNDS):
        problems = Problems(
            link, x, y, weights / noise, np.full((1, 1), np.inf), shared[None], 1 / tau[None] ** 2, *link.bounds()
        )
        solved = minimise(problems, theta, 3 if turn else 20, 1e-8)
        theta = solved.theta
        value, jacobian = link.evaluate(theta, x)
        information = (jacobian * (weights / noise)[:, None, :]) @ jacobian.transpose(0, 2, 1)
        covariance = np.asarray(np.linalg.inv(information + eye / tau**2), np.float64)
        shared = (theta.sum(0) / tau**2 + mean / width**2) / (len(names) / tau**2 + 1 / width**2)
        spread = ((theta - shared) ** 2 + np.diagonal(covariance, axis1=1, axis2=2)).sum(0)
        rest = float((weights * (value - y) ** 2).sum())
        used = float(np.einsum("gij,gji->", covariance, information))
        noise = (rest + NOISE_WEIGHT) / (max(len(data) - used, 0.0) + NOISE_WEIGHT)
        known = information @ np.linalg.inv(eye + (tau**2)[:, None] * information)
        drag, uncertain = covariance / tau**2, np.asarray(np.linalg.inv(known.sum(0) + eye / width**2), np.float64)
        tau = np.sqrt((spread + POOL_WEIGHT * (width / 3) ** 2) / (len(names) + POOL_WEIGHT))
        state = np.concatenate([shared / width, tau / width, [noise / (1 + noise)]])
        if turn and np.abs(state - last).max() < SETTLED:
            break
        last = state
    objective = float(solved.objective.sum())
    last = np.where(weights > 0, z, -np.inf).argmax(1)[:, None]
    beyond = np.take_along_axis(np.where(weights > 0, y - link.evaluate(theta, x)[0], 0.0), last, 1)[:, 0]
    return SizeFit(link, chance, theta, covariance, shared, uncertain, drag, centre, scale, noise, objective, beyond)


def _with_slope(
    link: Link, prior: tuple[Array, Array], data: ScoreData, chance: float, scale: float
) -> tuple[Array, Array]:
    """A link's prior with the slope of other tables' tasks, `scale` natural logarithms of size to a spread."""
    level, top = float(data.value.mean()), data.ceiling
    above, below = max(level - chance, LEAST_ABOVE), max(top - level, LEAST_ABOVE)
    mean, error = (scale * part * above * below / (above + below) for part in SLOPE)
    return link.expecting(prior, np.array([[0.0], [chance], [top]]), mean, error)


def _pack(data: ScoreData, names: Sequence[str], centre: float, scale: float) -> tuple[Array, Array, Array]:
    """Standardised log sizes, scores and weights, (methods, points) each; weight 0 where there is no point."""
    group = np.array(data.group)
    rows = [np.flatnonzero(group == name) for name in names]
    shape = (len(names), max(map(len, rows)))
    z, y, weights = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for g, mine in enumerate(rows):
        z[g, : len(mine)] = (data.log_size[mine] - centre) / scale
        y[g, : len(mine)], weights[g, : len(mine)] = data.value[mine], 1 / data.stderr[mine] ** 2
    return z, y, weights


def build(data: ScoreData, only: str = "auto", seen: Sequence[Mask] | None = None) -> SizeModel:
    """Fit every link, weigh them by what they would have said about the largest sizes, and learn the form's error.

    Args:
        data: one metric of one task.
        only: the link to consider; auto considers all.
        seen: rows that each rolling hold-out keeps; by default all but the largest rung, and all but the two largest.

    Raises:
        UsageError: no such link.
    """
    scale = Scale.of(data)
    own_unit, data = data, scale.data(data)
    names, found = tuple(dict.fromkeys(sorted(data.group))), members(data, only, SPECIAL)
    untested = seen is None and limited(own_unit) and len(rungs(data.log_size)) == 2
    fits = tuple(fit_link(one.link, data, names, one.chance, sloped=untested) for one in found)
    if seen is None:
        seen = [data.log_size < cut - 1e-9 for cut in rungs(data.log_size)[:1:-1][:2]]
    splits = _splits(data, seen)
    errors: list[list[Array]] = [[] for _ in found]
    for train, hidden in splits:
        known = tuple(dict.fromkeys(sorted(train.group)))
        rows = np.array([known.index(g) for g in hidden.group])
        for mine, one in zip(errors, found, strict=True):
            fit = fit_link(one.link, train, known, one.chance)
            at = fit.x(hidden.log_size[:, None], data.ceiling)
            mine.append(fit.link.evaluate(fit.theta[rows], at)[0][:, 0] + fit.lean[rows] - hidden.value)
    weights, rolled = weigh(found, errors, float(np.mean(data.stderr**2)))
    averages = _averages(splits, errors, weights, found)
    common, own = _form(data, splits, averages, fits[int(np.argmax(weights))].noise)
    tested = tuple(
        dict(zip(hidden.run_id, map(float, average), strict=True))
        for (_, hidden), (average, _) in zip(splits, averages, strict=True)
    )
    largest = _largest(data, names)
    return SizeModel(own_unit, data, scale, names, found, fits, weights, rolled, common, own, largest, tested)


def _largest(data: ScoreData, names: Sequence[str]) -> Array:
    group = np.array(data.group)
    return np.array([data.log_size[group == name].max() for name in names])


def _splits(data: ScoreData, masks: Sequence[Mask]) -> list[tuple[ScoreData, ScoreData]]:
    """What is kept and what is hidden; each hidden method is known from two smaller sizes at least."""
    found = []
    for seen in masks:
        train = data.keep(seen)
        known = {g for g in set(train.group) if len(np.unique(train.log_size[np.array(train.group) == g])) > 1}
        hidden = data.keep(~seen & np.isin(data.group, sorted(known)))
        if len(known) and len(hidden):
            found.append((train.keep(np.isin(train.group, sorted(known))), hidden))
    return found


def _averages(
    splits: Sequence[tuple[ScoreData, ScoreData]],
    errors: Sequence[Sequence[Array]],
    weights: Array,
    found: Sequence[Member],
) -> list[tuple[Array, Array]]:
    """For each split the errors of the weighted average, and the distances of what was hidden."""
    result = []
    for s, (train, hidden) in enumerate(splits):
        names = tuple(sorted(set(train.group)))
        last = _largest(train, names)[[names.index(g) for g in hidden.group]]
        far = np.maximum(hidden.log_size - last, 0.0) / (float(train.log_size.std()) or 1.0)
        moved = weights_at(weights, found, BY_SIZE * far, len(rungs(train.log_size)))
        result.append(((moved * np.stack([mine[s] for mine in errors])).sum(0), far))
    return result


def _form(
    data: ScoreData,
    splits: Sequence[tuple[ScoreData, ScoreData]],
    averages: Sequence[tuple[Array, Array]],
    noise: float,
) -> tuple[float, float]:
    """Deviation of the form's error for each spread of log size: what the methods share, and each method's own."""
    learnt = CALIBRATION["score_by_size"]
    typical = (learnt["form"] * float(np.hypot(data.value.std(), learnt["emerging"]))) ** 2
    common, own, worth = learnt["splits"] * typical, learnt["splits"] * typical, float(learnt["splits"])
    for (_, hidden), (average, far) in zip(splits, averages, strict=True):
        reach = np.hypot(far, NEAR)
        scaled, allowed = average / reach, noise * float(np.mean(hidden.stderr**2 / reach**2))
        spread = float(scaled.var(ddof=1)) if len(scaled) > 1 else 0.0
        common += max(float(scaled.mean()) ** 2 - spread / len(scaled), 0.0)
        own += max(spread - allowed, 0.0)
        worth += 1
    return float(np.sqrt(common / worth)), float(np.sqrt(own / worth))
