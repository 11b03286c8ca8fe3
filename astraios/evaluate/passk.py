"""pass@k over k from the samples that exist, with intervals over problems, and its projection to larger k.

Up to the samples there are it is the unbiased estimate (Chen et al., 2021). Beyond them each problem's pass rate is
taken from a beta distribution over problems that the samples of all set (beta-binomial; Brown et al., 2024, Large
language monkeys, for the many problems with small rates; Kazdan et al., 2025, Efficient prediction of pass@k scaling).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astraios.errors import DataError
from astraios.evaluate.tasks._estimate import cluster_stderr, pass_at_k, share_interval

Counts = NDArray[np.int64]
DRAWS = 100
"""Resamples of the problems behind an interval beyond the samples."""
BOUND = 8.0
"""Logs of the beta's parameters lie between minus and plus this; the prior on them is weak and normal."""


@dataclass(frozen=True)
class PassPoint:
    """pass@k at one k."""

    k: int
    value: float
    low: float
    high: float
    is_projected: bool
    """Whether k is more than the samples a problem that there are."""

    @property
    def stderr(self) -> float:
        """Half the interval over the normal's quantile at 90 %."""
        return (self.high - self.low) / 2 / 1.6449


def grid(most: int) -> list[int]:
    """1, 2, 5, 10, 20, 50, ... up to `most`, and `most` itself."""
    steps = [d * 10**e for e in range(len(str(most))) for d in (1, 2, 5)]
    return sorted({k for k in steps if k <= most} | {most})


def curve(
    samples: Sequence[int], passed: Sequence[int], ks: Sequence[int], level: float = 0.9, seed: int = 0
) -> list[PassPoint]:
    """pass@k at each k.

    Args:
        samples: samples of each problem.
        passed: how many of them passed.
        ks: samples allowed.
        level: nominal coverage of the intervals, which are over problems.
        seed: of the resampling.

    Raises:
        DataError: no problems, or more passes than samples.
    """
    n, c = np.asarray(samples, np.int64), np.asarray(passed, np.int64)
    if not len(n) or len(n) != len(c) or (c < 0).any() or (c > n).any() or (n < 1).any():
        raise DataError("pass@k needs problems with samples, and no more passes than samples")
    least = int(n.min())
    beyond = [k for k in ks if k > least]
    projected = dict(zip(beyond, _project(n, c, beyond, level, seed), strict=True)) if beyond else {}
    found = []
    for k in ks:
        if k > least:
            found.append(PassPoint(k, *projected[k], True))
            continue
        values = [pass_at_k(int(a), int(b), k) for a, b in zip(n, c, strict=True)]
        value = float(np.mean(values))
        found.append(PassPoint(k, value, *share_interval(value, cluster_stderr(values), len(values), level), False))
    return found


def _project(n: Counts, c: Counts, ks: Sequence[int], level: float, seed: int) -> list[tuple[float, float, float]]:
    """Value and interval at each k beyond the samples."""
    pairs, counts = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    start = _fit(pairs, counts.astype(float), None)
    values = _means(pairs, counts.astype(float), start, ks)
    draws = []
    for weights in rng.multinomial(len(n), counts / len(n), DRAWS).astype(float):
        draws.append(_means(pairs, weights, _fit(pairs, weights, start), ks))
    ends = np.quantile(np.stack(draws), [(1 - level) / 2, (1 + level) / 2], axis=0)
    # What the samples did not show of a small problem set, Wilson's interval still allows.
    wide = [share_interval(float(v), None, len(n), level) if 0 in (v, 1 - v) else (1.0, 0.0) for v in values]
    return [
        (float(v), float(min(low, v, a)), float(max(high, v, b)))
        for v, low, high, (a, b) in zip(values, *ends, wide, strict=True)
    ]


def _fit(pairs: Counts, weights: NDArray[np.float64], start: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """Logs of the beta's parameters, by maximum likelihood with a weak prior."""
    from scipy.optimize import minimize
    from scipy.special import betaln, digamma

    n, c = pairs

    def objective(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        a, b = np.exp(theta)
        value = weights @ (betaln(a + c, b + n - c) - betaln(a, b))
        both = digamma(a + b) - digamma(a + b + n)
        slope_a = a * (weights @ (digamma(a + c) - digamma(a) + both))
        slope_b = b * (weights @ (digamma(b + n - c) - digamma(b) + both))
        return float(-value + 0.5 * (theta @ theta) / 16), -np.array([slope_a, slope_b]) + theta / 16

    first = np.array([-1.0, 0.5]) if start is None else start
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=[(-BOUND, BOUND)] * 2)
    return np.asarray(found.x, np.float64)


def _means(
    pairs: Counts, weights: NDArray[np.float64], theta: NDArray[np.float64], ks: Sequence[int]
) -> NDArray[np.float64]:
    """Mean over problems of 1 - E[(1 - p)^k], given each one's samples."""
    from scipy.special import betaln

    (a, b), (n, c) = np.exp(theta), pairs
    left = [np.exp(betaln(a + c, b + n - c + k) - betaln(a + c, b + n - c)) for k in ks]
    return np.array([1 - float(weights @ one) / float(weights.sum()) for one in left])
