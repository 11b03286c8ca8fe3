"""Partial pooling: every series' curve is shrunk towards a shared shape as strongly as the data say.

Transformed parameters of a series are normal around a shared mean: theta_g = anchor_g + u_g, u_g ~ N(mu, tau^2). The
anchors carry each series' own level, so what is shared is the shape. mu and tau come from the series themselves
(empirical Bayes, with the Laplace variance of each series), and tau has a weak prior of its own, so that one
series alone, or two sizes, still give an answer: the prior's. Where the sizes have luck that series share, mu is the
curve of `astraios.fit.typical`, which knows of it, and the series are fitted without that luck.

Whether series do share their shape the rolling hold-outs say (`astraios.fit.weigh.roll`): where they are foretold
better by curves of their own, mu is the weak prior's and tau its width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array, Mask
from astraios.fit.laws import Law
from astraios.fit.observations import Ladder
from astraios.fit.optimise import Problems, Solution, inverse_of, minimise, search
from astraios.fit.priors import NOISE, NOISE_WEIGHT, Prior, weak
from astraios.fit.typical import Typical, sizes_of, trusted, typical

MANY_CELLS, LONG = 1_000_000, 80
"""Points times draws, and points of a series, from which on draws are of condensed points."""
BOUNDED = 1e-3
"""Curvature that a point beyond Huber's threshold keeps in a condensed one, against 1 within."""
CELLS = (0.3, 0.2)
"""Widths of condensed points in each input's natural logarithm: at the optimum, then where each draw arrived. A law
hardly bends within."""
MANY_SERIES = 100
"""Series beyond which each takes a quarter of the starts, and all fewer turns and steps: they share their shape, and
the best start is the same."""
TURNS, STEPS = 12, 100
"""Most turns between the series and what they share, and most steps of a turn."""
MANY_TURNS, MANY_STEPS = 5, 15
"""The same with many series: what is still on its way goes on in the next turn, and at the end."""
ARRIVED = 1e-10
"""What a further step may promise of the objective at the optimum."""
HUBER = 1.345
"""95 % efficiency under normal noise."""
POOL_WEIGHT = 1.0
"""Degrees of freedom that the weak prior has in tau."""


@dataclass(frozen=True)
class Estimator:
    """How residuals are weighed."""

    name: str
    delta: float | None
    """Fixed Huber threshold on log loss; None: 1.345 times the noise; infinity: least squares."""
    prior: bool = True
    focused: bool = True
    """Whether points near the target count most (see `focus`)."""


ESTIMATORS = {
    "huber": Estimator("huber", None),
    "huber_even": Estimator("huber_even", None, focused=False),
    "huber_1e-3": Estimator("huber_1e-3", 1e-3, prior=False),
    "least_squares": Estimator("least_squares", np.inf),
}


@dataclass(frozen=True)
class PooledFit:
    """One law fitted to all series of a ladder."""

    law: Law
    ladder: Ladder
    estimator: Estimator
    centre: Array
    """(inputs,) logs."""
    theta: Array
    """(series, parameters), centred and transformed."""
    sigma: float
    """Noise of one run's log loss."""
    freedom: float
    """Degrees of freedom behind sigma."""
    mean: Array
    """(series, parameters): where each series' prior ended."""
    tau: Array
    """(series, parameters): spread around the mean; the weak prior's for series that are kept out of the pool."""
    mean_error: Array
    """(parameters,): standard error of the shared mean."""
    problems: Problems
    solution: Solution
    agreement: float
    """Share of starts that reached the best optimum, worst series."""
    typical: Typical | None
    """The curve that series share, where its sizes have luck."""

    @property
    def noise(self) -> float:
        """Noise of one point as its series alone sees it: a run's own, and assumed luck of its size."""
        return float(np.hypot(self.sigma, unseen(self.ladder)))

    @property
    def scatter(self) -> float:
        """Noise of a run around its curve; one series can't tell a run's own from the luck of its size."""
        return self.sigma if len(self.ladder) > 1 else self.noise

    def log_predict(self, theta: Array, x: Array) -> Array:
        """Log losses (series, draws, points) for theta (series, draws, parameters), x (inputs, series, points)."""
        series, draws, k = theta.shape
        wide = np.repeat(x, draws, axis=1)
        return self.law.evaluate(theta.reshape(-1, k), wide)[0].reshape(series, draws, -1)

    def variance(self, g: int, slope: Array) -> Array:
        """Variance of log predictions of series `g` from the curvature at the optimum; slopes (parameters, n)."""
        inverse = inverse_of(self.solution.hessian[g : g + 1], self.problems.prior_precision[g : g + 1])[0]
        if self.typical is None or not trusted(self.ladder)[g]:
            covariance = self.noise**2 * inverse
        else:
            covariance = self.sigma**2 * inverse + self.typical.covariance
        return np.asarray(np.einsum("kn,kl,ln->n", slope, covariance, slope))

    def draw(self, rng: np.random.Generator, luck: Array) -> Array:
        """Parameters (series, draws, parameters): refits of perturbed data under perturbed priors, all at once.

        Series with many runs resample their runs with Dirichlet weights (rows with one run_id go together); short
        ones, for which that is degenerate, get new noise instead, its size drawn from its own posterior (so the
        intervals have Student tails). A refit weighs its priors against the noise of its draw: where that is large, the
        points say little.

        Args:
            rng: where it comes from.
            luck: spread of the sizes' luck in each draw, (draws,), as `Ladder.spreads` has it.
        """
        series, draws = len(self.problems.y), len(luck)
        k = len(self.law.parameters)
        noise = self._own_noise(rng, draws)
        centre = self.mean[:, None] + self.mean_error * rng.standard_normal((1, draws, k))
        centre = centre + self.tau[:, None] * rng.standard_normal((series, draws, k))
        y = np.repeat(self.problems.y[:, None], draws, axis=1)
        weights = np.repeat(self.problems.weights[:, None], draws, axis=1)
        blur = self.shared_noise(rng, luck)
        louder = np.ones((series, draws))
        for g, one in enumerate(self.ladder.series):
            member = clusters(one.run_id)
            count, n = member.max() + 1, len(one)
            if one.weight is not None:
                y[g, :, :n] += noise[:, None] * rng.standard_normal((draws, n)) / np.sqrt(one.weight)
                louder[g] = self._louder(noise, luck)
            elif count >= 4 * k and not blur:
                weights[g, :, :n] *= (rng.dirichlet(np.ones(count), draws) * count)[:, member]
            else:
                y[g, :, :n] += noise[:, None] * rng.standard_normal((draws, count))[:, member]
                louder[g] = self._louder(noise, luck)
            if blur:
                y[g, :, :n] += blur[g]
        if self.typical is not None:
            y, centre = self._with_typical(self.typical, rng, y, centre, noise, luck)
        if y.size > MANY_CELLS and y.shape[2] >= LONG and self.estimator.delta is None:
            return self._dense_draw(y, weights, centre, louder)
        start = np.repeat(self.theta[:, None], draws, axis=1)
        delta = self.problems.delta if self.estimator.delta is not None else self.problems.delta * louder.reshape(-1, 1)
        return self._refit(self.problems.x, y, weights, centre, louder, delta, start, 1e-7)

    def _own_noise(self, rng: np.random.Generator, draws: int) -> Array:
        """Noise of a run in each draw, (draws,): as uncertain as its degrees of freedom say.

        Where nothing tells it from the luck of a single series the luck's own uncertainty holds that of both.
        """
        if len(self.ladder) == 1 and self.freedom <= NOISE_WEIGHT and unseen(self.ladder):
            return np.full(draws, self.sigma)
        return np.asarray(self.sigma * np.sqrt(self.freedom / rng.chisquare(self.freedom, draws)))

    def _louder(self, noise: Array, luck: Array) -> Array:
        """What series are fitted against in each draw, for what they were fitted against, (draws,)."""
        if self.typical is not None:
            return noise / self.sigma
        return np.hypot(noise, luck * (unseen(self.ladder) > 0)) / self.noise

    def _refit(
        self, x: Array, y: Array, weights: Array, centre: Array, louder: Array, delta: Array, start: Array,
        accuracy: float,
    ) -> Array:  # fmt: skip
        """Optima of all draws, (series, draws, parameters), from `start`, which has their shape."""
        series, draws, k = start.shape
        flat = Problems(
            self.law, np.repeat(x, draws, axis=1), y.reshape(series * draws, -1), weights.reshape(series * draws, -1),
            delta, centre.reshape(-1, k),
            np.repeat(self.problems.prior_precision, draws, axis=0) * louder.reshape(-1, 1) ** 2,
            self.problems.low, self.problems.high,
        )  # fmt: skip
        return minimise(flat, start.reshape(-1, k), 60, accuracy).theta.reshape(start.shape)

    def _dense_draw(self, y: Array, weights: Array, centre: Array, louder: Array) -> Array:
        """Draws of long series from condensed points, whose pull is taken anew where a first pass arrived."""
        theta = self.theta[:, None]
        for width in CELLS:
            x, cells, weighed = self._condensed(y, weights, theta, width)
            start = np.broadcast_to(theta, (*y.shape[:2], theta.shape[2]))
            theta = self._refit(x, cells, weighed, centre, louder, np.full((1, 1), np.inf), start, 1e-4)
        return theta

    def _condensed(self, y: Array, weights: Array, theta: Array, width: float) -> tuple[Array, Array, Array]:
        """Neighbouring points as one: x (inputs, series, cells), y and weights (series, draws, cells).

        Each cell pulls at the curve `theta` (series, 1 or draws, parameters) as its points together do there, where
        Huber's function bounds each of them.
        """
        places = [
            np.unique(np.floor(self.problems.x[:, g, : len(one)] / width), axis=1, return_inverse=True)[1].ravel()
            for g, one in enumerate(self.ladder.series)
        ]
        count = max(int(place.max()) for place in places) + 1
        x, middle = np.zeros((len(self.problems.x), len(y), count)), np.zeros((*y.shape[:2], count))
        weighed = np.zeros_like(middle)
        for g, place in enumerate(places):
            n, each = len(place), np.eye(count)[place]
            at, weight = self.problems.x[:, g, :n], self.problems.weights[g, :n]
            x[:, g] = (at * weight) @ each / np.maximum(weight @ each, 1e-300)
            residual = self.law.evaluate(theta[g], at)[0] - y[g, :, :n]
            psi = np.clip(residual, -self.problems.delta, self.problems.delta)
            # A cell whose points are all bounded keeps its pull, and next to no curvature.
            weighed[g] = (weights[g, :, :n] * np.where(psi == residual, 1.0, BOUNDED)) @ each
            pulled = (weights[g, :, :n] * psi) @ each
            middle[g] = self.law.evaluate(theta[g], x[:, g])[0] - pulled / np.maximum(weighed[g], 1e-300)
        return x, middle, weighed

    def _with_typical(
        self, one: Typical, rng: np.random.Generator, y: Array, centre: Array, noise: Array, luck: Array
    ) -> tuple[Array, Array]:
        """Observations (series, draws, points) without luck, and priors' centres, as refits of the common curve say."""
        known, place = trusted(self.ladder), _levels(self.ladder, self.problems.y.shape)
        weights = self.problems.weights * known[:, None]
        each = np.eye(len(one.common))[place] * weights[..., None]
        moved = np.einsum("gdn,gnl->dl", y - self.problems.y[:, None], each) / np.maximum(each.sum((0, 1)), 1e-9)
        assert self.ladder.luck is not None
        theta, common = one.redraw(moved, rng, luck / self.ladder.luck.spread, noise / self.sigma)
        y = y + one.common[place][:, None] - common[:, place].transpose(1, 0, 2)
        return y, centre + (theta - one.theta) * known[:, None, None]

    def shared_noise(self, rng: np.random.Generator, spreads: Array) -> list[Array]:
        """Luck of the bases, (draws, points) a series, the same for all series at one size; empty without luck.

        Args:
            rng: where it comes from.
            spreads: of the luck in each draw, (draws,).
        """
        if self.ladder.luck is None:
            return []
        drawn = self.ladder.luck.common(self.ladder.column("n_params"), rng, spreads)
        ends = np.cumsum([len(s) for s in self.ladder.series])[:-1]
        return np.split(drawn, ends, axis=1)


def unseen(ladder: Ladder) -> float:
    """Spread of luck that was not taken out of the losses; 0 without."""
    return ladder.luck.spread if ladder.luck is not None and ladder.luck.assumed else 0.0


def clusters(run_id: tuple[str, ...]) -> np.ndarray:
    """Number of the run of each row; rows without a run_id are runs of their own."""
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(run or f"\x00{i}", len(seen)) for i, run in enumerate(run_id)])


def focus(law: Law) -> float:
    """How strongly the points that count most are those near the target: weights go with compute to this power.

    No law is true over all sizes, so far points mislead. The square root serves tables of sizes and data; curves over
    data alone, which bend more, take 1.5. A ladder of sizes alone has no points to spare.
    """
    if law.inputs in (("n_tokens",), ("steps",)):
        return 1.5
    return 0.5 if len(law.inputs) > 1 else 0.0


def _focused(x: Array, weights: Array, power: float) -> Array:
    """Weights (series, points) times compute^power, scaled to the number of points that they are worth."""
    if power == 0:
        return weights
    scale = np.where(weights > 0, x.sum(0), -np.inf)
    focused = np.where(weights > 0, np.exp(power * (scale - scale.max(1, keepdims=True))), 0.0)
    return focused * (focused.sum(1) / (focused**2).sum(1))[:, None]


def pool_partially(
    law: Law, ladder: Ladder, rule: Estimator, seed: int, starts: int, alone: bool = False,
    begun: PooledFit | None = None,
) -> PooledFit:  # fmt: skip
    """Fit one law to all series together (see the module's text for the model).

    Args:
        law: of inputs that the ladder has.
        ladder: all series.
        rule: how residuals are weighed.
        seed: of the starts.
        starts: starts of each series in the first pass; later passes are warm.
        alone: whether each series has the weak prior to itself and nothing is shared but the noise; only without luck.
        begun: a fit of the same that the search need not be made again for.
    """
    centre = law.centre(np.array([ladder.column(name).mean() for name in law.inputs]))
    x, y, weights = ladder.pack(law.inputs, centre)
    if rule.prior and rule.focused:
        weights = _focused(x, weights, focus(law))
    prior = weak(law, y, weights, ladder.quantity)
    many = len(ladder) > MANY_SERIES
    starts, turns, steps = (max(starts // 4, 2), MANY_TURNS, MANY_STEPS) if many else (starts, TURNS, STEPS)
    known = np.array([not series.rises for series in ladder.series])
    sigma, shift, tau = _first_noise(y, weights), np.zeros(prior.anchor.shape), np.tile(prior.scale, (len(y), 1))
    luck, level = unseen(ladder), _levels(ladder, y.shape) if _told_apart(ladder) else None
    together = rule.prior and ladder.luck is not None and known.sum() > 1
    own = 0.0 if together else luck
    problems = independent(law, x, y, weights, rule, float(np.hypot(sigma, own)), prior.anchor + shift, tau)
    if begun is None:
        rng = np.random.default_rng(seed)
        guesses = np.stack([law.guess(x[:, g, : len(s)], s.log_loss, rng, starts) for g, s in enumerate(ladder.series)])
        solution, agreeing = search(problems, guesses, 2 * steps, 1e-8)
        theta, agreement = solution.theta, float(agreeing.min())
    else:
        solution, theta, agreement = begun.solution, begun.theta, begun.agreement
    error, curve, apart = prior.scale * 0, None, y
    within = sum(float(one.within.sum()) for one in ladder.series if one.within is not None)
    freedom = NOISE_WEIGHT
    shared = rule.prior and (together or (known.sum() > 1 and not alone))
    for turn in range(turns if shared else 1):
        if together and ladder.luck is not None:
            curve = typical(law, ladder, centre, theta, sigma, ladder.luck, None if curve is None else curve.theta)
            shift, apart = known[:, None] * curve.shift, y - curve.common[_levels(ladder, y.shape)]
        problems = independent(law, x, apart, weights, rule, float(np.hypot(sigma, own)), prior.anchor + shift, tau)
        solution = minimise(problems, theta, steps, ARRIVED)
        moved = float(np.abs(solution.theta - theta).max())
        theta = solution.theta
        inverse = inverse_of(solution.hessian, problems.prior_precision)
        sigma, freedom = _noise(problems, theta, inverse, rule, known, level, within, own)
        if together:
            tau = _spread(theta - prior.anchor - shift, inverse, sigma, tau, prior, known)
        elif shared:
            shift, tau, error = _shape(theta - prior.anchor, inverse, sigma, tau, prior, known)
        # The first turn still has the priors of the search: it moves nothing.
        if turn and moved < 1e-5:
            break
    if (solution.decrement > ARRIVED).any():
        solution = minimise(problems, theta, STEPS, ARRIVED)
    return PooledFit(
        law, ladder, rule, centre, solution.theta, sigma, freedom, prior.anchor + shift, tau, error, problems, solution,
        agreement, curve,
    )  # fmt: skip


def _told_apart(ladder: Ladder) -> bool:
    """Whether what runs of a size share is luck and the rest their own: not where one series has luck that was given.

    A luck that the curve itself told (`astraios.fit.luck`) holds the scatter of a single series around it.
    """
    if not unseen(ladder):
        return False
    return len(ladder) > 1 or (ladder.luck is not None and bool(np.isfinite(ladder.luck.freedom)))


def _levels(ladder: Ladder, shape: tuple[int, ...]) -> np.ndarray:
    """Number of the size of each point, (series, points)."""
    _, number = sizes_of(ladder)
    found, start = np.zeros(shape, int), 0
    for g, series in enumerate(ladder.series):
        found[g, : len(series)] = number[start : start + len(series)]
        start += len(series)
    return found


def _first_noise(y: Array, weights: Array) -> float:
    return max(NOISE, 0.02 * float(np.std(y[weights > 0])))


def independent(
    law: Law, x: Array, y: Array, weights: Array, rule: Estimator, sigma: float, mean: Array, tau: Array
) -> Problems:
    """The problem of each series by itself, its prior a normal of `mean` and `tau`."""
    delta = HUBER * sigma if rule.delta is None else rule.delta
    precision = np.broadcast_to((sigma / tau) ** 2 * rule.prior, mean.shape)
    return Problems(law, x, y, weights, np.full((1, 1), delta), mean, precision, *law.bounds())


def repeat(problems: Problems, rows: np.ndarray) -> Problems:
    """The problems of `rows`, also where one problem is asked for many times."""
    return Problems(
        problems.model, problems.x[:, rows], problems.y[rows], problems.weights[rows], problems.delta,
        problems.prior_mean[rows], problems.prior_precision[rows], problems.low, problems.high,
    )  # fmt: skip


def _noise(
    problems: Problems,
    theta: Array,
    inverse: Array,
    rule: Estimator,
    trusted: Mask,
    level: np.ndarray | None,
    within: float,
    luck: float,
) -> tuple[float, float]:
    """Noise of a run and its degrees of freedom; robust where the points are many, with a weak prior where few.

    What the series of a size have in common is luck, not noise: with `level` it is taken from the residuals first, else
    its share of their squares is.
    `within` is the sum of squares of runs around the means that are fitted in their place.
    """
    f, _ = problems.model.evaluate(theta, problems.x)
    there = (problems.weights > 0) & (trusted | ~trusted.any())[:, None]
    residual, weights = (f - problems.y)[there], problems.weights[there]
    worth = float(weights.sum())
    shrunk = np.einsum("gkk,gk->", inverse, problems.prior_precision)
    used = min((theta.size - shrunk) * there.sum() / (problems.weights > 0).sum(), 0.95 * worth)
    freedom = worth - used
    if level is not None:
        size = level[there]
        common = np.bincount(size, weights * residual) / np.maximum(np.bincount(size, weights), 1e-12)
        kept = max(1 - len(np.unique(size)) / worth, 0.0)
        residual, freedom = residual - common[size], freedom * kept
    robust = 1.4826 * _median(np.abs(residual), weights)
    limit = np.inf if rule.delta == np.inf else 3 * max(robust, NOISE)
    spare = float((weights * np.clip(residual, -limit, limit) ** 2).sum())
    if within:
        spare = within + float((weights * residual**2).sum())
    elif rule.delta is None and residual.size > 40:
        spare = robust**2 * worth
    if level is None:
        spare = max(spare - freedom * luck**2, 0.0)
    total = freedom + NOISE_WEIGHT
    return float(np.sqrt((spare + NOISE_WEIGHT * NOISE**2) / total)), float(total)


def _median(values: Array, weights: Array) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.interp(0.5 * weights.sum(), share, values[order]))


def _shape(u: Array, inverse: Array, sigma: float, tau: Array, prior: Prior, known: Mask) -> tuple[Array, Array, Array]:
    """One turn: shared mean and spread (series, parameters) each, and the mean's standard error (parameters,).

    Series whose loss rises with size, usually for want of tuning, neither teach the others nor are drawn to them.
    """
    mine, count = u[known], int(known.sum())
    variance = sigma**2 * np.diagonal(inverse[known], axis1=1, axis2=2)
    total = (mine.var(0) + variance.mean(0) + 1e-8) / count
    keep = prior.scale**2 / (prior.scale**2 + total)
    shift = known[:, None] * (keep * mine.mean(0))
    tau = _spread(u - shift, inverse, sigma, tau, prior, known)
    return shift, tau, np.sqrt(keep / count) * tau[known][0]


def _spread(off: Array, inverse: Array, sigma: float, tau: Array, prior: Prior, known: Mask) -> Array:
    """Spread of series around their common curve, (series, parameters), from how far off it they are.

    A parameter counts as far as the data, and not the spread itself, determine it (MacKay's fixed point, which EM
    reaches slowly where they hardly do).
    """
    taus = np.tile(prior.scale, (len(off), 1))
    if known.sum() < 2:
        return taus
    share = 1 - sigma**2 * np.diagonal(inverse[known], axis1=1, axis2=2) / tau[known] ** 2
    counted = np.clip(share, 0.0, 1.0).sum(0)
    squares = (off[known] ** 2).sum(0) + POOL_WEIGHT * (0.3 * prior.scale) ** 2
    taus[known] = np.sqrt(np.minimum(squares / (counted + POOL_WEIGHT), prior.scale**2))
    return taus
