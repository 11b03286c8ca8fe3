"""Laws whose shape all series share outright: one joint problem instead of partial pooling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.laws import Law
from astraios.fit.observations import LITTLE, Ladder
from astraios.fit.optimise import Problems, Solution, inverse_of, minimise, search
from astraios.fit.pooling import HUBER, Estimator, PooledFit, clusters, independent
from astraios.fit.priors import NOISE, NOISE_WEIGHT, Prior, weak
from astraios.fit.typical import sizes_of

UNTUNED = 1e-4
"""Weight of series whose loss rises with size: they get a shift and no say in the shape."""


@dataclass(frozen=True)
class Joint:
    """A law with tied parameters as one model: the own parameter of each series, then the tied ones.

    The law's first parameter is each series' own shift of the log loss; the others are tied. The last row of `x` holds
    the number of the series.
    """

    law: Law
    series: int

    def _shared(self, theta: Array) -> Array:
        return np.hstack([np.zeros((len(theta), 1)), theta[:, self.series :]])

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        group = x[-1].astype(int)
        value, jacobian = self.law.evaluate(self._shared(theta), x[:-1])
        gradient = np.zeros((len(theta), theta.shape[1], x.shape[-1]))
        gradient[:, group, np.arange(x.shape[-1])] = 1.0
        gradient[:, self.series :] = jacobian[:, 1:]
        return value + theta[:, group], gradient

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        total = (jacobian * outer[:, None]) @ jacobian.transpose(0, 2, 1)
        shared = self._shared(theta)
        inner = self.law.evaluate(shared, x[:-1])[1]
        total[:, self.series :, self.series :] += self.law.hessian(shared, x[:-1], inner, 0 * outer, curve)[:, 1:, 1:]
        return total


@dataclass(frozen=True)
class TiedFit(PooledFit):
    """A law with tied parameters fitted to all series of a ladder."""

    joint: Problems
    joint_theta: Array
    """(1, series + tied parameters)."""
    width: Array
    """Standard deviations of the joint prior, (1, series + tied)."""
    covariance: Array
    """Of the joint parameters, from the noise of runs and the luck of sizes, (series + tied, series + tied)."""

    def variance(self, g: int, slope: Array) -> Array:
        """Variance of log predictions of series `g`, whose own shift comes first in the slopes."""
        rows = np.array([g, *range(len(self.ladder), len(self.covariance))])
        return np.asarray(np.einsum("kn,kl,ln->n", slope, self.covariance[np.ix_(rows, rows)], slope))

    def draw(self, rng: np.random.Generator, luck: Array) -> Array:
        """Refits of data with new noise under perturbed priors: all series move together."""
        draws = len(luck)
        noise = self._own_noise(rng, draws)
        columns = []
        for one in self.ladder.series:
            member = clusters(one.run_id)
            columns.append(noise[:, None] * rng.standard_normal((draws, member.max() + 1))[:, member])
        y = self.joint.y + np.concatenate(columns, axis=1)
        for start, part in zip(np.cumsum([0, *map(len, self.ladder.series)]), self.shared_noise(rng, luck)):  # noqa: B905
            y[:, start : start + part.shape[1]] += part
        centre = self.joint.prior_mean + self.width * rng.standard_normal((draws, self.width.shape[1]))
        precision = self.joint.prior_precision
        if self.estimator.prior:
            precision = (_blur(self.ladder, self.width.shape[1], noise, luck) / self.width) ** 2
        delta = self.joint.delta * (1 if self.estimator.delta is not None else noise[:, None] / self.sigma)
        problems = Problems(
            self.joint.model, self.joint.x, y, self.joint.weights, delta, centre, precision, self.joint.low,
            self.joint.high,
        )  # fmt: skip
        return _apart(minimise(problems, np.repeat(self.joint_theta, draws, axis=0), 30, 1e-7).theta, len(self.ladder))


def _apart(theta: Array, series: int) -> Array:
    """(problems, series + tied) to (series, problems, parameters)."""
    own = theta[:, :series].T[:, :, None]
    return np.concatenate([own, np.broadcast_to(theta[:, series:], (series, *theta[:, series:].shape))], axis=2)


def pool_tied(law: Law, ladder: Ladder, rule: Estimator, seed: int, starts: int) -> PooledFit:
    """Fit a law whose parameters but the first are shared by all series.

    The shifts have a weak prior around 0, which also says where the shared curve lies; the noise comes from the
    residuals, without what the runs of a size share where that is luck, and, where they are few, from its own prior.
    """
    centre = law.centre(np.array([ladder.column(name).mean() for name in law.inputs]))
    x, y, weights = ladder.pack(law.inputs, centre)
    prior, series = weak(law, y, weights, ladder.quantity), len(ladder)
    group = np.repeat(np.arange(series), [len(s) for s in ladder.series])
    flat = np.concatenate([x[:, g, : len(s)] for g, s in enumerate(ladder.series)], axis=1)
    loss = np.concatenate([s.log_loss for s in ladder.series])
    mean = np.concatenate([np.zeros(series), prior.anchor.mean(0)[1:]])[None]
    width = np.concatenate([np.full(series, prior.scale[0]), prior.scale[1:]])[None]
    low, high = law.bounds()
    least, most = (np.concatenate([np.full(series, edge[0]), edge[1:]]) for edge in (low, high))
    model, sigma, freedom = Joint(law, series), max(NOISE, 0.02 * float(loss.std())), NOISE_WEIGHT
    trusted = np.array([not s.rises for s in ladder.series])
    trusted = (trusted | ~trusted.any())[group]
    counts = np.where(trusted, weights[weights > 0], UNTUNED)
    height = np.array([s.log_loss.mean() for s in ladder.series])
    guess = law.guess(flat, loss - (height - height.mean())[group], np.random.default_rng(seed), starts)
    first = np.hstack([np.tile(height - height.mean(), (starts, 1)), guess[:, 1:]])
    _, level = sizes_of(ladder)
    agree, theta, joint, solved = np.ones(1), first[:1], None, None
    for turn in range(6):
        delta = HUBER * sigma if rule.delta is None else rule.delta
        spread = 0.0 if ladder.luck is None else ladder.luck.spread
        precision = (_blur(ladder, width.shape[1], sigma, spread) / width) ** 2 * rule.prior
        joint = Problems(
            model, np.vstack([flat, group]), loss[None], counts[None], np.full((1, 1), delta), mean,
            precision, least, most,
        )  # fmt: skip
        if turn == 0:
            solved, agree = search(joint, first[None], 100, 1e-8)
        else:
            solved = minimise(joint, theta, 100, 1e-10)
        theta = solved.theta
        residual = (model.evaluate(theta, joint.x)[0] - loss)[0]
        residual, own, used = residual[trusted], len(np.unique(group[trusted])), len(law.tied)
        if ladder.luck is not None:
            common = np.bincount(level[trusted], residual) / np.maximum(np.bincount(level[trusted]), 1)
            residual, used = residual - common[level[trusted]], max(used, len(np.unique(level[trusted])))
        spare = max(len(residual) - own - used + 1, 0)
        limit = 3 * max(1.4826 * float(np.median(np.abs(residual))), NOISE)
        freedom = spare + NOISE_WEIGHT
        squares = float((np.clip(residual, -limit, limit) ** 2).sum()) * spare / len(residual)
        sigma = float(np.sqrt((squares + NOISE_WEIGHT * NOISE**2) / freedom))
    assert joint is not None
    assert solved is not None
    return _as_pooled(
        law, ladder, rule, prior, centre, (x, y, weights), joint, solved, width, sigma, freedom, float(agree[0])
    )


def _blur(ladder: Ladder, count: int, sigma: Array | float, spread: Array | float) -> Array:
    """Noise that the prior of each joint parameter is weighed against, (1 or draws, count).

    Luck, which more series do not lessen, counts for the tied ones as if each series had it by itself.
    """
    series = len(ladder)
    bases = 1.0 if ladder.luck is None else float(np.mean(list(ladder.luck.count.values())))
    found = np.atleast_1d(sigma)[..., None] * np.ones(count)
    found[:, series:] = np.hypot(found[:, series:], LITTLE * np.reshape(spread, (-1, 1)) * np.sqrt(series / bases))
    return found


def _as_pooled(
    law: Law, ladder: Ladder, rule: Estimator, prior: Prior, centre: Array, packed: tuple[Array, Array, Array],
    joint: Problems, solved: Solution, width: Array, sigma: float, freedom: float, agreement: float,
) -> TiedFit:  # fmt: skip
    """The joint optimum as every other part of the fit sees one: parameters, and problems, by series."""
    series, k = len(ladder), len(law.parameters)
    theta = _apart(solved.theta, series)[:, 0]
    held = _apart(solved.at_bound.astype(float), series)[:, 0] > 0
    tau = np.tile(prior.scale, (series, 1))
    problems = independent(law, *packed, rule, sigma, theta, tau)
    solution = Solution(
        theta, np.repeat(solved.objective / series, series), np.repeat(solved.decrement, series), held,
        np.repeat(solved.converged, series), solved.iterations, np.tile(np.eye(k), (series, 1, 1)),
    )  # fmt: skip
    return TiedFit(
        law, ladder, rule, centre, theta, sigma, freedom, theta, tau, np.zeros(k), problems, solution, agreement,
        None, joint, solved.theta, width, _covariance(joint, solved, ladder, sigma),
    )  # fmt: skip


def _covariance(joint: Problems, solved: Solution, ladder: Ladder, sigma: float) -> Array:
    """Covariance of the joint parameters: more series lessen the noise of runs, and not the luck that they share."""
    inverse = inverse_of(solved.hessian, joint.prior_precision)[0]
    found: Array = sigma**2 * inverse
    if ladder.luck is None:
        return found
    slope = joint.model.evaluate(solved.theta, joint.x)[1][0] * joint.weights
    sizes, level = sizes_of(ladder)
    bases = np.array([ladder.luck.count[float(v)] for v in sizes])
    moved = inverse @ slope @ (np.eye(len(sizes))[level] / np.sqrt(bases))
    return found + ladder.luck.spread**2 * moved @ moved.T
