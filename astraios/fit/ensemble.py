"""Several laws as one: weights from rolling hold-outs, draws from all of them, and what no law knows.

The last part is the form's own error: how far the average of the laws missed the hidden sizes beyond what its draws
explain. It is split into what the series shared (a wrong form misses all of them alike) and what was each one's own,
and grows with the distance of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.data import Ladder
from astraios.fit.laws import Law
from astraios.fit.pooled import PooledFit, pool
from astraios.fit.select import Rolling, reach, roll, splits, weigh

DRAWS = 400
FORM_FREEDOM = 4.0
"""Degrees of freedom of the form's error: few hold-outs speak for it."""


@dataclass(frozen=True)
class Discrepancy:
    """Standard deviation of the form's error per natural logarithm of distance."""

    common: float
    own: float


@dataclass(frozen=True)
class Draws:
    """Projections as draws, all in log loss."""

    mean: Array
    """(series, targets): weighted average of the laws' best estimates."""
    draws: Array
    """(series, draws, targets): the mean at the target, with parameter, law and form uncertainty."""
    new: Array
    """(series, draws, targets): one new run there."""

    def interval(self, level: float, new: bool = False) -> tuple[Array, Array]:
        """Lower and upper ends, as losses, (series, targets) each."""
        tail = (1 - level) / 2
        low, high = np.quantile(self.new if new else self.draws, [tail, 1 - tail], axis=1)
        return np.exp(np.minimum(low, self.mean)), np.exp(np.maximum(high, self.mean))


@dataclass(frozen=True)
class Ensemble:
    """Laws fitted to one ladder, ready to project."""

    ladder: Ladder
    fits: tuple[PooledFit, ...]
    rollings: tuple[Rolling, ...]
    weights: Array
    draws: tuple[Array, ...]
    """Parameters for each law: (series, its share of the draws, parameters)."""
    discrepancy: Discrepancy
    common: Array
    """(draws,) standardised form error that all series share."""
    own: Array
    """(series, draws) standardised form error of each series."""
    noise: Array
    """(series, draws) standardised noise of a new run."""
    sigma: float

    @property
    def best(self) -> PooledFit:
        """The law with the largest weight."""
        return self.fits[int(np.argmax(self.weights))]

    def project(self, columns: dict[str, Array]) -> Draws:
        """Draws at targets given as log inputs, each (series, targets)."""
        any_column = next(iter(columns.values()))
        far = np.stack([reach(self.ladder, {n: c[g] for n, c in columns.items()}) for g in range(len(any_column))])
        means, parts = [], []
        for fit, theta in zip(self.fits, self.draws, strict=True):
            x = np.stack([columns[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
            means.append(fit.log_predict(fit.theta[:, None], x)[:, 0])
            if theta.shape[1]:
                parts.append(fit.log_predict(theta, x))
        mean = np.tensordot(self.weights, np.stack(means), 1)
        form = self.discrepancy.common * self.common + self.discrepancy.own * self.own
        draws = np.concatenate(parts, axis=1) + form[:, :, None] * far[:, None, :]
        return Draws(mean, draws, draws + self.sigma * self.noise[:, :, None])


def build(laws: Sequence[Law], ladder: Ladder, estimator: str = "huber", seed: int = 0, count: int = DRAWS) -> Ensemble:
    """Fit `laws` to all series, weigh them, and draw."""
    inputs = list(dict.fromkeys(name for law in laws for name in law.inputs))
    parts = splits(ladder, inputs)
    rollings = tuple(roll(law, parts, estimator, seed) for law in laws)
    fits = tuple(pool(law, ladder, estimator, seed) for law in laws)
    sigma = min(fit.sigma for fit in fits)
    weights = weigh(rollings, sigma)
    rng = np.random.default_rng(seed)
    shares = np.floor(weights * count).astype(int)
    shares[np.argmax(weights)] += count - shares.sum()
    draws = tuple(
        fit.draw(rng, int(share)) if share else np.empty((len(ladder), 0, len(fit.law.parameters)))
        for fit, share in zip(fits, shares, strict=True)
    )
    sigma = float(np.sqrt(np.sum(weights * np.array([fit.sigma**2 for fit in fits]))))
    freedom = fits[int(np.argmax(weights))].freedom
    return Ensemble(
        ladder, fits, rollings, weights, draws, _discrepancy(rollings, weights, sigma),
        rng.standard_t(FORM_FREEDOM, count), rng.standard_t(FORM_FREEDOM, (len(ladder), count)),
        rng.standard_t(max(freedom, 3.0), (len(ladder), count)), sigma,
    )  # fmt: skip


def _discrepancy(rollings: Sequence[Rolling], weights: Array, sigma: float) -> Discrepancy:
    """From the average's rolling errors per unit of distance, less the noise of the hidden runs themselves."""
    common, own = [], []
    for s, far in enumerate(rollings[0].reach):
        errors = sum(w * r.errors[s] for w, r in zip(weights, rollings, strict=True))
        names = np.array(rollings[0].groups[s])
        means = np.array([errors[names == name].mean() for name in dict.fromkeys(names)])
        counts = np.array([(names == name).sum() for name in dict.fromkeys(names)])
        common.append((means.mean() / far) ** 2)
        if len(means) > 1:
            own.append(max(means.var(ddof=1) - sigma**2 / counts.mean(), 0.0) / far**2)
    if not common:
        return Discrepancy(0.0, 0.0)
    return Discrepancy(float(np.sqrt(np.mean(common))), float(np.sqrt(np.mean(own))) if own else 0.0)
