"""Comparisons between series: where the preferred method changes, and whether relative losses stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.bases import set_apart
from astraios.fit.ensemble import Ensemble
from astraios.fit.observations import Ladder


@dataclass(frozen=True)
class Crossing:
    """The size at which the better of two methods changes."""

    first: str
    second: str
    probability: float
    """That there is a crossing within the range that was searched."""
    size: float | None
    """Median over the draws that cross."""
    low: float | None
    high: float | None
    better_at_largest: str


def crossing(
    ensemble: Ensemble, first: str, second: str, largest: float, level: float = 0.9, n_tokens: float | None = None
) -> Crossing:
    """Where the curves of two series cross, between the smallest size seen and `largest`.

    Args:
        ensemble: the fit.
        first, second: series.
        largest: parameters.
        level: of the interval.
        n_tokens: data at which they are compared, where the laws take them.

    Raises:
        UsageError: an unknown series.
        FitError: `largest` is not beyond the smallest size; the laws take an input that is not given.
    """
    names = ensemble.ladder.names
    for name in (first, second):
        if name not in names:
            raise UsageError(f"no series {name!r} in this fit: it has {', '.join(names)}")
    smallest = float(ensemble.ladder.column("n_params").min())
    if np.log(largest) <= smallest:
        raise FitError(f"no room to search: {largest:.4g} is not beyond the smallest size")
    grid = np.linspace(smallest, np.log(largest), 120)
    columns = {"n_params": np.tile(grid, (len(names), 1))}
    wanted = {name for fit in ensemble.fits for name in fit.law.inputs} - set(columns)
    if wanted and n_tokens is None:
        raise FitError(f"the laws take {', '.join(sorted(wanted))}: say at how many tokens the curves are compared")
    columns |= {name: np.full_like(columns["n_params"], np.log(n_tokens or 1.0)) for name in wanted}
    drawn = ensemble.project(columns)
    gap = drawn.draws[names.index(first)] - drawn.draws[names.index(second)]
    change = (gap[:, :-1] * gap[:, 1:]) < 0
    some = change.any(1)
    last = change.shape[1] - 1 - np.argmax(change[:, ::-1], axis=1)
    rows = np.flatnonzero(some)
    left, right = gap[rows, last[rows]], gap[rows, last[rows] + 1]
    where = grid[last[rows]] + (grid[1] - grid[0]) * left / (left - right)
    end = drawn.mean[:, -1]
    better = first if end[names.index(first)] <= end[names.index(second)] else second
    if rows.size < 5:
        return Crossing(first, second, float(some.mean()), None, None, None, better)
    low, middle, high = np.exp(np.quantile(where, [(1 - level) / 2, 0.5, (1 + level) / 2]))
    return Crossing(first, second, float(some.mean()), float(middle), float(low), float(high), better)


@dataclass(frozen=True)
class RelativeLoss:
    """Is a method's loss relative to a reference the same at every size?"""

    reference: str
    effect: dict[str, float]
    """Mean log ratio to the reference, by method."""
    interaction: float
    """Scatter of the log ratios over sizes, beyond the noise of runs, as a standard deviation."""
    noise: float
    """Standard deviation of one run's log loss that the test assumed or found between seeds."""
    p_value: float
    """Of the hypothesis that all log ratios are constant over sizes (F test; chi-square where noise is assumed)."""
    n_sizes: int


def relative_loss(ladder: Ladder, reference: str, noise: float | None = None) -> RelativeLoss:
    """Two-way analysis of log losses: method and size as additive effects, their interaction against the noise.

    Args:
        noise: standard deviation of one run's log loss; taken from repeated seeds where it is None.

    Raises:
        UsageError: no such reference.
        FitError: fewer than two sizes that all methods share, or neither seeds nor noise.
    """
    from scipy import stats

    if reference not in ladder.names:
        raise UsageError(f"no series {reference!r}: there are {', '.join(ladder.names)}")
    ladder = set_apart(ladder)
    sizes = [set(np.round(s.inputs["n_params"], 6)) for s in ladder.series]
    shared = sorted(set.intersection(*sizes))
    if len(shared) < 2 or len(ladder) < 2:
        raise FitError("relative losses need two methods and two sizes that all methods share")
    table, within, spare, counts = np.zeros((len(ladder), len(shared))), 0.0, 0, []
    for g, series in enumerate(ladder.series):
        for j, size in enumerate(shared):
            values = series.log_loss[np.isclose(series.inputs["n_params"], size, atol=1e-6)]
            table[g, j] = values.mean()
            within += float(((values - values.mean()) ** 2).sum())
            spare += len(values) - 1
            counts.append(len(values))
    if noise is None and spare == 0:
        raise FitError("one run per cell: give the noise of a run, or add seeds")
    if ladder.bases is not None:
        spare = max(spare - sum(k - 1 for k in ladder.bases.count.values()), 1)
    variance = noise**2 if noise is not None else within / spare
    left = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    free = (len(ladder) - 1) * (len(shared) - 1)
    runs = float(stats.hmean(counts))
    mean_square = float((left**2).sum()) / free
    ratio = mean_square * runs / variance
    p = stats.chi2.sf(ratio * free, free) if noise is not None else stats.f.sf(ratio, free, spare)
    base = table[ladder.names.index(reference)]
    effect = {name: float((table[g] - base).mean()) for g, name in enumerate(ladder.names)}
    beyond = float(np.sqrt(max(mean_square - variance / runs, 0.0)))
    return RelativeLoss(reference, effect, beyond, float(np.sqrt(variance)), float(p), len(shared))


@dataclass(frozen=True)
class Paired:
    """Two models on the same items: the difference is much sharper than its parts."""

    difference: float
    """Mean of first - second."""
    stderr: float
    low: float
    high: float
    p_value: float
    correlation: float
    """Of the two models' items: the share of the evaluation's noise that they have in common."""
    n: int


def paired(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[object] | None = None, level: float = 0.9
) -> Paired:
    """Difference of two models' mean scores on the same items, by Student's t over items (or clusters of items).

    Raises:
        FitError: fewer than two items, or the items do not match.
    """
    from scipy import stats

    a, b = np.asarray(first, float), np.asarray(second, float)
    if a.shape != b.shape or a.size < 2:
        raise FitError(f"a paired comparison needs the same two items or more: there are {a.size} and {b.size}")
    gap = a - b
    if clusters is not None:
        places = {c: k for k, c in enumerate(dict.fromkeys(clusters))}
        sums, counts = np.bincount([places[c] for c in clusters], gap - gap.mean()), len(places)
        error = float(np.sqrt((sums**2).sum() * counts / max(counts - 1, 1)) / gap.size)
    else:
        counts = gap.size
        error = float(gap.std(ddof=1) / np.sqrt(counts))
    mean = float(gap.mean())
    half = float(stats.t.ppf((1 + level) / 2, counts - 1)) * error
    p = float(2 * stats.t.sf(abs(mean) / error, counts - 1)) if error > 0 else float(mean == 0)
    shared = float(np.corrcoef(a, b)[0, 1]) if a.std() > 0 and b.std() > 0 else 0.0
    return Paired(mean, error, mean - half, mean + half, p, shared, int(gap.size))
