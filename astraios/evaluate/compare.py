"""Two runs on the same samples of one task: do they differ? Behind `astraios compare`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import DataError
from astraios.records import SampleScore

LEVEL = 0.95


@dataclass(frozen=True)
class Comparison:
    """A paired comparison; values are fractions."""

    task_id: str
    a: float
    b: float
    difference: float
    """b - a."""
    low: float
    high: float
    p_value: float
    test: str
    """"exact McNemar" for one yes/no sample a problem, "paired bootstrap" otherwise."""
    n: int
    """Problems that both runs have."""
    only_a: int
    """Problems on which a is better."""
    only_b: int
    level: float = LEVEL

    @property
    def differ(self) -> bool:
        """Whether the interval leaves zero out and the test agrees."""
        return self.p_value < 1 - self.level and not self.low <= 0 <= self.high

    def words(self, name_a: str = "A", name_b: str = "B") -> str:
        """The result in one sentence."""
        interval = f"{100 * self.low:+.2f} to {100 * self.high:+.2f}"
        facts = f"{self.n} problems, {self.test}, p = {self.p_value:.3g}"
        if not self.differ:
            return (
                f"{name_a} ({100 * self.a:.2f} %) and {name_b} ({100 * self.b:.2f} %) can't be told apart on "
                f"{self.task_id}: the difference is {100 * self.difference:+.2f} points, "
                f"{self.level:.0%} interval {interval} ({facts})."
            )
        better, worse = (name_b, name_a) if self.difference > 0 else (name_a, name_b)
        return (
            f"{better} is better than {worse} on {self.task_id} by {100 * abs(self.difference):.2f} points: "
            f"{100 * self.a:.2f} % for {name_a}, {100 * self.b:.2f} % for {name_b}, "
            f"{self.level:.0%} interval of the difference {interval} ({facts})."
        )


def mcnemar(only_a: int, only_b: int) -> float:
    """Exact two-sided p-value of McNemar's test: are the disagreements as often one way as the other?

    Source: McNemar, 1947; the exact form is the binomial test at 1/2.
    """
    n, low = only_a + only_b, min(only_a, only_b)
    if only_a == only_b:
        return 1.0
    # Whole numbers keep the tail exact where a power of 1/2 would vanish.
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(low + 1)) / 2**n)


def by_problem(samples: Sequence[SampleScore]) -> dict[str, list[float]]:
    """Values by problem, in the order of the samples."""
    found: dict[str, list[tuple[int, float]]] = {}
    for sample in samples:
        found.setdefault(sample.item_id, []).append((sample.sample, sample.value))
    return {item: [value for _, value in sorted(values)] for item, values in found.items()}


def compare(
    a: Sequence[SampleScore],
    b: Sequence[SampleScore],
    clusters: Mapping[str, str] | None = None,
    level: float = LEVEL,
    draws: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Paired difference of two runs on one task.

    Args:
        a: sample scores of the first run.
        b: sample scores of the second, of the same problems.
        clusters: for problems that share a source (ReCode's variants), the source of each; resampled together.
        level: coverage of the interval.
        draws: bootstrap draws.
        seed: seed of the resampling.

    Raises:
        DataError: the runs are of different tasks or problems.
    """
    tasks = {sample.task_id for sample in (*a, *b)}
    if len(tasks) != 1:
        raise DataError(f"a comparison needs two runs on one task, these are on {', '.join(sorted(tasks)) or 'none'}")
    left, right = by_problem(a), by_problem(b)
    if left.keys() != right.keys():
        odd = sorted(left.keys() ^ right.keys())
        raise DataError(f"the runs were scored on different problems: {len(odd)} are in one only, first {odd[0]}")
    items = sorted(left)
    x = np.array([np.mean(left[item]) for item in items])
    y = np.array([np.mean(right[item]) for item in items])
    only_a, only_b = int(np.sum(x > y)), int(np.sum(y > x))
    low, high, p = _bootstrap(y - x, [clusters[i] if clusters else i for i in items], level, draws, seed)
    test = "paired bootstrap"
    if not clusters and all(len(v) == 1 and v[0] in (0.0, 1.0) for v in (*left.values(), *right.values())):
        p, test = mcnemar(only_a, only_b), "exact McNemar"
    a_mean, b_mean = float(x.mean()), float(y.mean())
    return Comparison(
        tasks.pop(), a_mean, b_mean, b_mean - a_mean, low, high, p, test, len(items), only_a, only_b, level
    )


def _bootstrap(
    difference: np.ndarray, clusters: list[str], level: float, draws: int, seed: int
) -> tuple[float, float, float]:
    """Percentile interval of the mean difference, and the p-value that belongs to it."""
    rng = np.random.default_rng(seed)
    _, labels = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(labels, weights=difference), np.bincount(labels)
    n = len(sums)
    means = np.empty(draws)
    for start in range(0, draws, 500):
        chosen = rng.integers(0, n, (min(500, draws - start), n))
        means[start : start + len(chosen)] = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
    tail = min(np.sum(means <= 0), np.sum(means >= 0))
    return float(low), float(high), float(min(1.0, 2 * (tail + 1) / (draws + 1)))
