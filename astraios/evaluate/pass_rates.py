"""How pass rates lie over problems, from the passes of each: draws of what the samples allow.

Of problems that none of n samples solved nobody can say which are never solved and which have a rate below 1/n, and all
that more samples bring lies there. So forms that agree on what was seen and differ in that are averaged, by how likely
they make the samples (Hoeting et al., 1999, Bayesian model averaging): rates that thin out towards zero as a power does
(beta distributions, for the many small rates of Brown et al., 2024, Large language monkeys, and Kazdan et al., 2025,
Efficient prediction of pass@k scaling), rates that thin out faster (normal on the logit), a crowd at one rate, and
problems that are never solved.

Each form's draws come from tempered sequential Monte Carlo (Del Moral et al., 2006), with differences of other draws as
steps (ter Braak, 2006); the evidence for a form falls out of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
DRAWS = 400
"""Of each form."""
MOVES = 5
"""Steps of every draw at each temperature."""
STEPS = (0.3, 0.6, 1.0)
"""Lengths of steps, as shares of the one that suits a normal distribution."""
ODDS = (0.0, 1.5)
"""Mean and deviation of the log odds of a group of problems against the first."""


@dataclass(frozen=True)
class Passes:
    """Problems by samples and passes: how many have the same."""

    n: Counts
    c: Counts
    weight: Floats

    @classmethod
    def of(cls, n: Counts, c: Counts) -> Passes:
        """From the samples and passes of each problem."""
        (each, passed), counts = np.unique(np.stack([n, c]), axis=1, return_counts=True)
        return cls(each, passed, counts.astype(float))

    @cached_property
    def logits(self) -> Floats:
        """Where rates are summed over: close enough for the sharpest likelihood of a rate."""
        return np.arange(-14.0, 9.0, min(0.45, 2.0 / float(self.n.max()) ** 0.5))

    @cached_property
    def at_logits(self) -> tuple[Floats, Floats]:
        """Likelihood of each rate over the largest, (logits, pairs), and the log of that largest, (pairs,)."""
        x = self.logits[:, None]
        log = -self.c * np.logaddexp(0, -x) - (self.n - self.c) * np.logaddexp(0, x)
        return np.exp(log - log.max(0)), log.max(0)


class Group(ABC):
    """Problems whose rates lie alike; `theta` is (draws, parameters)."""

    priors: ClassVar[tuple[tuple[float, float], ...]]
    """Mean and deviation of each parameter's normal prior, which is wide: the samples are to say what they can."""

    @staticmethod
    @abstractmethod
    def likelihood(theta: Floats, passes: Passes) -> Floats:
        """Log of the chance of each pair of samples and passes, up to a constant of the pair: (draws, pairs)."""

    @staticmethod
    @abstractmethod
    def unsolved(theta: Floats, k: int, passes: Passes) -> Floats:
        """Share of problems that k samples leave unsolved: (draws,)."""


class Power(Group):
    """A beta distribution: towards zero rates thin out as a power does. The log of its a; the logit of its mean."""

    priors = ((0.5, 2.0), (-2.0, 2.5))

    @staticmethod
    def shapes(theta: Floats) -> tuple[Floats, Floats]:
        """Parameters a and b of the beta, (draws, 1)."""
        a = np.exp(np.clip(theta[:, :1], -8, 8))
        return a, a * np.exp(-np.clip(theta[:, 1:], -14, 14))

    @staticmethod
    def likelihood(theta: Floats, passes: Passes) -> Floats:
        from scipy.special import betaln, gammaln

        a, b = Power.shapes(theta)
        seen = gammaln(a + passes.c) + gammaln(b + (passes.n - passes.c)) - gammaln(a + b + passes.n)
        return np.asarray(seen - betaln(a, b), np.float64)

    @staticmethod
    def unsolved(theta: Floats, k: int, passes: Passes) -> Floats:
        from scipy.special import betaln

        a, b = Power.shapes(theta)
        return np.asarray(np.exp(betaln(a, b + k) - betaln(a, b))[:, 0], np.float64)


class Fast(Group):
    """A normal distribution of the logit of the rate, thinner than any power. Its mean; the log of its deviation."""

    priors = ((-2.0, 2.5), (0.3, 1.2))

    @staticmethod
    def shares(theta: Floats, logits: Floats) -> Floats:
        """What lies at each logit, (draws, logits), shared between neighbours so that mean and variance are right."""
        from scipy.special import ndtr

        gap = logits[1] - logits[0]
        deviation = np.sqrt(np.maximum(np.exp(2 * theta[:, 1:]) - gap**2 / 6, 1e-6))
        z = (logits - theta[:, :1]) / deviation
        up_to = deviation * np.diff(z * ndtr(z) + np.exp(-z * z / 2) / (2 * np.pi) ** 0.5, axis=1) / gap
        return np.maximum(np.diff(up_to, axis=1, prepend=0.0, append=1.0), 0.0)

    @staticmethod
    def likelihood(theta: Floats, passes: Passes) -> Floats:
        chances, largest = passes.at_logits
        return np.asarray(np.log(Fast.shares(theta, passes.logits) @ chances + 1e-300) + largest, np.float64)

    @staticmethod
    def unsolved(theta: Floats, k: int, passes: Passes) -> Floats:
        return Fast.shares(theta, passes.logits) @ np.exp(-k * np.logaddexp(0, passes.logits))


class Alike(Group):
    """Problems of one rate, which may lie just below notice. Its logit."""

    priors = ((-2.0, 2.5),)

    @staticmethod
    def likelihood(theta: Floats, passes: Passes) -> Floats:
        return -passes.c * np.logaddexp(0, -theta) - (passes.n - passes.c) * np.logaddexp(0, theta)

    @staticmethod
    def unsolved(theta: Floats, k: int, passes: Passes) -> Floats:
        return np.asarray(np.exp(-k * np.logaddexp(0, theta[:, 0])), np.float64)


class Never(Group):
    """Problems that are never solved."""

    priors = ()

    @staticmethod
    def likelihood(theta: Floats, passes: Passes) -> Floats:
        return np.broadcast_to(np.where(passes.c == 0, 0.0, -np.inf), (len(theta), len(passes.c)))

    @staticmethod
    def unsolved(theta: Floats, k: int, passes: Passes) -> Floats:
        return np.ones(len(theta))


@dataclass(frozen=True)
class Form:
    """Groups that problems are of. Parameters are those of each, then the log odds of all but the first against it."""

    groups: tuple[type[Group], ...]

    @cached_property
    def priors(self) -> tuple[Floats, Floats]:
        """Means and deviations, (parameters,) each."""
        every = [prior for group in self.groups for prior in group.priors] + [ODDS] * (len(self.groups) - 1)
        return np.array([mean for mean, _ in every]), np.array([deviation for _, deviation in every])

    def split(self, theta: Floats) -> tuple[list[Floats], Floats]:
        """Each group's own parameters, and the log of its share (draws, groups)."""
        ends = np.cumsum([len(group.priors) for group in self.groups])
        odds = np.concatenate([np.zeros((len(theta), 1)), theta[:, ends[-1] :]], axis=1)
        return np.split(theta[:, : ends[-1]], ends[:-1], axis=1), odds - np.logaddexp.reduce(odds, axis=1)[:, None]

    def likelihood(self, theta: Floats, passes: Passes) -> Floats:
        """Log of the chance of all samples: (draws,)."""
        own, shares = self.split(theta)
        each = [
            group.likelihood(mine, passes) + share[:, None]
            for group, mine, share in zip(self.groups, own, shares.T, strict=True)
        ]
        return np.asarray(np.logaddexp.reduce(each) @ passes.weight, np.float64)

    def unsolved(self, theta: Floats, k: int, passes: Passes) -> Floats:
        """Share of problems that k samples leave unsolved: (draws,)."""
        own, shares = self.split(theta)
        each = [group.unsolved(mine, k, passes) for group, mine in zip(self.groups, own, strict=True)]
        return np.asarray((np.exp(shares) * np.stack(each, axis=1)).sum(1), np.float64)

    def sample(self, passes: Passes, rng: np.random.Generator) -> tuple[Floats, float]:
        """Draws of the parameters, (draws, parameters), and the log of the chance of the samples under this form."""
        mean, deviation = self.priors
        theta = mean + deviation * rng.standard_normal((DRAWS, len(mean)))
        likelihood, heat, evidence = self.likelihood(theta, passes), 0.0, 0.0
        while heat < 1:
            step = _next(likelihood, 1 - heat)
            heat = min(heat + step, 1.0)
            weights = np.exp(step * (likelihood - likelihood.max()))
            evidence += float(np.log(weights.mean()) + step * likelihood.max())
            places = np.searchsorted(np.cumsum(weights) / weights.sum(), (rng.random() + np.arange(DRAWS)) / DRAWS)
            kept = np.minimum(places, DRAWS - 1)
            theta, likelihood = theta[kept], likelihood[kept]
            for _ in range(MOVES):
                theta, likelihood = self._moved(theta, likelihood, heat, passes, rng)
        return theta, evidence

    def _moved(
        self, theta: Floats, likelihood: Floats, heat: float, passes: Passes, rng: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """Every draw moved by a step of Metropolis's."""
        mean, deviation = self.priors
        one, other = rng.integers(0, len(theta), (2, len(theta)))
        length = 2.38 / (2 * len(mean)) ** 0.5 * rng.choice(STEPS, (len(theta), 1))
        tried = theta + length * (theta[one] - theta[other]) + 0.02 * deviation * rng.standard_normal(theta.shape)
        new = self.likelihood(tried, passes)
        gain = (((theta - mean) / deviation) ** 2 - ((tried - mean) / deviation) ** 2).sum(1) / 2
        taken = np.log(rng.random(len(theta))) < heat * (new - likelihood) + gain
        return np.where(taken[:, None], tried, theta), np.where(taken, new, likelihood)


def _next(likelihood: Floats, most: float) -> float:
    """The largest step of the temperature, up to `most`, that leaves half of the draws effective."""

    def effective(step: float) -> float:
        weights = np.exp(step * (likelihood - likelihood.max()))
        return float(weights.sum() ** 2 / (weights**2).sum())

    low, high = 0.0, most
    if effective(most) >= len(likelihood) / 2:
        return most
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= len(likelihood) / 2 else (low, middle)
    return low


FORMS = (
    Form((Power,)),
    Form((Power, Power)),
    Form((Power, Alike)),
    Form((Power, Never)),
    Form((Fast, Fast)),
    Form((Fast, Fast, Never)),
)
"""None is trusted more than another before the samples are seen."""


@dataclass(frozen=True)
class Rates:
    """Draws of how pass rates lie over problems, of every form."""

    passes: Passes
    draws: tuple[tuple[Form, Floats], ...]
    weights: Floats
    """Of each draw, summing to 1."""

    def unsolved(self, k: int) -> Floats:
        """Share of problems that k samples leave unsolved, by draw: (draws,)."""
        return np.concatenate([form.unsolved(theta, k, self.passes) for form, theta in self.draws])


def infer(samples: Sequence[int] | Counts, passed: Sequence[int] | Counts, seed: int = 0) -> Rates:
    """What the samples say of the rates.

    Args:
        samples: samples of each problem.
        passed: how many of them passed.
        seed: of the draws.
    """
    passes, rng = Passes.of(np.asarray(samples, np.int64), np.asarray(passed, np.int64)), np.random.default_rng(seed)
    found = [(form, *form.sample(passes, rng)) for form in FORMS]
    scores = np.array([evidence for _, _, evidence in found])
    trust = np.exp(scores - np.logaddexp.reduce(scores))
    return Rates(passes, tuple((form, theta) for form, theta, _ in found), np.repeat(trust / DRAWS, DRAWS))
