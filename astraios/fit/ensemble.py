"""Several laws as one: weights from rolling hold-outs, draws from all of them, and what no law knows.

The last part is the form's own error. Its size is taken from how badly the laws fit where there are data (the noise
sigma, which holds the misfit) and from the distance of the target: variance sigma^2 times the distance in natural
logarithms. Then the whole deviation of a draw is stretched by a factor of its own, so that deviations follow a
Student t: its freedom and scale are learnt on held-out sizes of real tables (calibration.toml says how).
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from astraios.fit.bases import set_apart
from astraios.fit.curve import Array
from astraios.fit.fitting import pool
from astraios.fit.laws import Law
from astraios.fit.observations import Ladder
from astraios.fit.pooling import PooledFit
from astraios.fit.weigh import Rolling, reach, roll, splits, weigh

DRAWS = 400
SHORT = 12
"""Sizes from which on a ladder of sizes alone is treated like the tables that the calibration was learnt on."""
SHARED = 0.7
"""Share of the form's error that all series have in common, where no rolling hold-out says."""
CALIBRATION: dict[str, Any] = tomllib.loads(files("astraios.fit").joinpath("calibration.toml").read_text())


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
    shared: float
    """Share of the form's error that all series have in common."""
    form: Array
    """(series, draws) standardised form error."""
    noise: Array
    """(series, draws) standardised noise of a new run."""
    stretch: Array
    """(draws,) factor on every deviation."""
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
        form = self.sigma * self.form[:, :, None] * np.sqrt(far)[:, None, :]
        off = np.concatenate(parts, axis=1) - mean[:, None, :] + form
        run = self.sigma * self.noise[:, :, None]
        stretch = self.stretch[None, :, None]
        return Draws(mean, mean[:, None, :] + stretch * off, mean[:, None, :] + stretch * (off + run))


def build(laws: Sequence[Law], ladder: Ladder, estimator: str = "huber", seed: int = 0, count: int = DRAWS) -> Ensemble:
    """Fit `laws` to all series, weigh them, and draw."""
    ladder = set_apart(ladder)
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
    shared = _shared(rollings, weights, sigma)
    common, own = rng.standard_normal(count), rng.standard_normal((len(ladder), count))
    noise, stretch = rng.standard_normal((len(ladder), count)), _stretch(laws, ladder, rng, count)
    if ladder.bases is not None:
        # A new run has a base of its own, and methods tuned on one base share it.
        noise = noise + ladder.bases.spread / sigma * rng.standard_normal(count)
    return Ensemble(
        ladder, fits, rollings, weights, draws, shared, np.sqrt(shared) * common + np.sqrt(1 - shared) * own, noise,
        stretch, sigma,
    )  # fmt: skip


def _stretch(laws: Sequence[Law], ladder: Ladder, rng: np.random.Generator, count: int) -> Array:
    """Factors that turn normal deviations into Student's, spread evenly over their distribution.

    Short ladders of sizes alone take none: their draws have Student tails already, from noise that few runs measure.
    Two sizes say nothing about a bend and take the factors again.
    """
    sizes = max(len(np.unique(next(iter(s.inputs.values())))) for s in ladder.series)
    if 2 < sizes < SHORT and all(law.inputs == ("n_params",) for law in laws):
        return np.ones(count)
    freedom, scale = CALIBRATION["loss"]["freedom"], CALIBRATION["loss"]["scale"]
    chi = np.sort(rng.chisquare(freedom, (64, count)), axis=1).mean(0)
    return scale * np.sqrt(freedom / rng.permutation(chi))


def _shared(rollings: Sequence[Rolling], weights: Array, sigma: float) -> float:
    """How much of the average's rolling errors the series had in common."""
    common, own = 0.0, 0.0
    for s in range(len(rollings[0].reach)):
        errors = sum(w * r.errors[s] for w, r in zip(weights, rollings, strict=True))
        names = np.array(rollings[0].groups[s])
        kept = list(dict.fromkeys(names))
        if len(kept) > 2:
            means = np.array([errors[names == name].mean() for name in kept])
            common += float(means.mean() ** 2)
            own += max(float(means.var(ddof=1)) - sigma**2 * len(kept) / len(names), 0.0)
    return common / (common + own) if common + own > 0 else SHARED
