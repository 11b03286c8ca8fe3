"""pass@k over k from the samples that exist, with intervals over problems, and its projection to larger k.

Up to the samples there are it is the unbiased estimate (Chen et al., 2021). More samples add those problems that none
has solved yet and that one of the further ones would: what the rates of all problems say of these (`pass_rates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astraios.errors import DataError
from astraios.evaluate.tasks._estimate import cluster_stderr, pass_at_k, share_interval

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PassPoint:
    """pass@k at one k."""

    k: int
    value: float
    low: float
    high: float
    is_projected: bool
    """Whether k is more than the samples a problem that there are."""
    is_open: bool = False
    """Whether over half of the interval is what the samples leave open, not the luck of having these problems."""

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
    beyond = [k for k in ks if k > n.min()]
    projected = {point.k: point for point in _project(n, c, beyond, level, seed)} if beyond else {}
    return [projected[k] if k in projected else _seen(n, c, k, level) for k in ks]


def _seen(n: Counts, c: Counts, k: int, level: float) -> PassPoint:
    """The point at a k of which every problem has the samples."""
    values = [pass_at_k(int(a), int(b), k) for a, b in zip(n, c, strict=True)]
    value = float(np.mean(values))
    return PassPoint(k, value, *share_interval(value, cluster_stderr(values), len(values), level), False)


def _project(n: Counts, c: Counts, ks: Sequence[int], level: float, seed: int) -> list[PassPoint]:
    """The points at each k of which some problem has too few samples."""
    from astraios.evaluate.pass_rates import infer

    rates, many, least = infer(n, c, seed), len(n), int(n.min())
    unsolved = {int(one): rates.unsolved(int(one)) for one in np.unique(n[c == 0])}
    found, floor = {}, _seen(n, c, least, level).low if c.any() else 0.0
    for k in sorted({*ks, *(k for k in grid(max(ks)) if k > least)}):
        left = rates.unsolved(k)
        lasting = {one: _median(left / share, rates.weights) for one, share in unsolved.items() if one < k}
        value = 1 - float(np.mean([_unsolved(int(a), int(b), k, lasting) for a, b in zip(n, c, strict=True)]))
        low, high = _ends(1 - left, rates.weights, level)
        # What is certain of fewer samples is of more; nothing passed is no evidence that anything would.
        floor = max(floor, low) if c.any() else 0.0
        # A share below one problem can't be told from none.
        high = 1.0 if high > 1 - 1 / many else high
        low, high = min(floor, value), max(high, value)
        luck = share_interval((low + high) / 2, None, many, level)
        found[k] = PassPoint(k, value, low, high, True, high - low > 2 * (luck[1] - luck[0]))
    return [found[k] for k in ks]


def _unsolved(n: int, c: int, k: int, lasting: Mapping[int, float]) -> float:
    """The chance that k samples leave a problem unsolved, of which n were seen.

    Args:
        lasting: that a problem which n samples left unsolved stays so with k, by n.
    """
    if k <= n:
        return 1 - pass_at_k(n, c, k)
    return 0.0 if c else lasting[n]


def _median(draws: Floats, weights: Floats) -> float:
    order = np.argsort(draws)
    return float(draws[order[np.searchsorted(np.cumsum(weights[order]), 0.5)]])


def _ends(draws: Floats, weights: Floats, level: float) -> tuple[float, float]:
    """An interval with equal tails joined with the shortest one, which reaches a bound that draws crowd at."""
    order = np.argsort(draws, kind="stable")
    sorted_draws, up_to = draws[order], np.cumsum(weights[order])
    before = np.concatenate([[0.0], up_to[:-1]])
    tail = (1 - level) / 2
    equal = np.searchsorted(up_to, [tail, 1 - tail])
    starts = np.flatnonzero(before <= 2 * tail)
    stops = np.searchsorted(up_to, before[starts] + level).clip(max=len(draws) - 1)
    shortest = np.argmin(sorted_draws[stops] - sorted_draws[starts])
    low, high = min(equal[0], starts[shortest]), max(equal[1], stops[shortest])
    return float(sorted_draws[low]), float(sorted_draws[high])
