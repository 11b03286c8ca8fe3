"""Point estimates of tasks and their intervals: over problems, never over samples within a problem."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astraios.records import Score

LEVEL = 0.95


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that one of k samples passes: 1 - C(n-c, k) / C(n, k).

    Args:
        n: samples drawn.
        c: samples that passed.
        k: samples allowed, at most n.

    Source: Chen et al., 2021 (arXiv 2107.03374), section 2.1, as a running product.
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def cluster_stderr(values: Sequence[float], clusters: Sequence[Any] | None = None) -> float | None:
    """Standard error of the mean of `values`, of which those of one cluster may depend on each other.

    None where there are fewer than two clusters.
    """
    x = np.asarray(values, dtype=float)
    labels = np.arange(len(x)) if clusters is None else np.unique(np.asarray(clusters), return_inverse=True)[1]
    g = int(labels.max()) + 1 if len(x) else 0
    if g < 2:
        return None
    totals = np.bincount(labels, weights=x - x.mean(), minlength=g)
    return float(math.sqrt(g / (g - 1) * np.sum(totals**2)) / len(x))


def share_interval(value: float, stderr: float | None, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a share whose standard error is known.

    Wilson's interval at the number of independent yes/no trials that would give this standard error; for yes/no
    items it is Wilson's own, and for no variation at all it is Wilson's at n.

    Source: Korn and Graubard, 1998 (effective sample size); Wilson, 1927.
    """
    z = NormalDist().inv_cdf(0.5 + level / 2)
    variation = value * (1 - value)
    trials = float(n)
    if stderr and variation > 0:
        trials = min(variation / stderr**2, 1e12)
    center = (value + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(variation / trials + z * z / (4 * trials**2))
    return max(0.0, center - half), min(1.0, center + half)


def bootstrap(
    rows: NDArray[Any],
    statistic: Callable[[NDArray[Any]], float],
    level: float = LEVEL,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float, float]:
    """Standard error and percentile interval of a statistic, resampling the rows of `rows` (problems)."""
    rng = np.random.default_rng(seed)
    values = [statistic(rows[rng.integers(0, len(rows), len(rows))]) for _ in range(draws)]
    low, high = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2])
    return float(np.std(values, ddof=1)), float(low), float(high)


def share(
    task_id: str,
    metric: str,
    values: Sequence[float],
    *,
    clusters: Sequence[Any] | None = None,
    n_failed: int = 0,
    n_shot: int = 0,
) -> Score:
    """Mean of values between 0 and 1, one a problem (or one a variant, with its problem as cluster)."""
    value = float(np.mean(values))
    stderr = cluster_stderr(values, clusters)
    n = len(values) if clusters is None else len(set(clusters))
    low, high = share_interval(value, stderr, n)
    return Score(task_id, metric, value, stderr, low, high, n, n_failed, n_shot)


def pass_scores(task_id: str, passed: Sequence[Sequence[bool]], n_failed: int = 0) -> tuple[Score, ...]:
    """pass@1, and pass@10 and pass@100 where there are enough samples.

    Args:
        passed: for each problem, whether each of its samples passed; (problems, samples).
    """
    n = len(passed[0])
    return tuple(
        share(task_id, f"pass@{k}", [pass_at_k(n, sum(row), k) for row in passed], n_failed=n_failed)
        for k in (1, 10, 100)
        if k <= n
    )
