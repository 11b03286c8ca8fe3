"""Which run to do next: the one that takes most uncertainty from the decision per device-hour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError
from astraios.fit.curve import Array
from astraios.fit.ensemble import Ensemble


@dataclass(frozen=True)
class NextRun:
    """One candidate run and what it would buy."""

    method_id: str
    n_params: float
    cost: float
    """Device-hours."""
    gain: float
    """Expected fall of the mean variance of the target's log losses, as a share of what it is now."""
    gain_per_cost: float
    width_after: float
    """Root mean variance of the target's log losses after it."""


@dataclass(frozen=True)
class Plan:
    """Runs within a budget, in the order in which to do them."""

    target: float
    budget: float
    spent: float
    width_before: float
    width_after: float
    runs: tuple[NextRun, ...]


def design(
    ensemble: Ensemble,
    target: float,
    budget: float,
    cost: Callable[[str, float], float],
    sizes: Sequence[float] | None = None,
    most: int = 20,
    n_tokens: float | None = None,
) -> Plan:
    """Choose runs greedily by variance removed per device-hour until the budget is spent.

    The joint draws of the losses at the target and at every candidate cell are one Gaussian; observing a cell with
    the noise of a run updates it exactly, so that a run of one method also tells about the others.

    Args:
        target: size that matters.
        budget: device-hours.
        cost: device-hours of one run of a method at a size.
        sizes: sizes that can be run; those of the ladder without it.
        most: runs at most.
        n_tokens: data of the target and of every run, where the laws take them.

    Raises:
        FitError: no candidate fits into the budget.
    """
    names = ensemble.ladder.names
    rungs = np.log(np.asarray(sizes if sizes is not None else np.exp(ensemble.ladder.levels("n_params")), float))
    columns = np.tile(np.append(rungs, np.log(target)), (len(names), 1))
    inputs = {name for fit in ensemble.fits for name in fit.law.inputs} - {"n_params"}
    if inputs and n_tokens is None:
        raise FitError(f"the laws take {', '.join(sorted(inputs))}: say with how many tokens runs are compared")
    held = {name: np.full_like(columns, np.log(n_tokens or 1.0)) for name in inputs}
    draws = ensemble.project({"n_params": columns, **held}).draws
    cells = [(g, j) for g in range(len(names)) for j in range(len(rungs))]
    prices = np.array([cost(names[g], float(np.exp(rungs[j]))) for g, j in cells])
    if not (prices <= budget).any():
        raise FitError(f"no run fits into {budget:.4g} device-hours: the cheapest takes {prices.min():.4g}")
    stacked = np.concatenate([draws[:, :, -1], np.stack([draws[g, :, j] for g, j in cells])])
    covariance = np.cov(stacked)
    count, noise = len(names), ensemble.scatter**2
    before = float(np.sqrt(np.trace(covariance[:count, :count]) / count))
    left = budget
    runs: list[NextRun] = []
    while len(runs) < most:
        gains = _gains(covariance, count, noise)
        rate = np.where(prices <= left, gains / prices, -np.inf)
        k = int(rate.argmax())
        if not np.isfinite(rate[k]) or gains[k] <= 0:
            break
        now = np.trace(covariance[:count, :count])
        covariance = _observe(covariance, count + k, noise)
        left -= prices[k]
        g, j = cells[k]
        width = float(np.sqrt(np.trace(covariance[:count, :count]) / count))
        runs.append(
            NextRun(
                names[g], float(np.exp(rungs[j])), float(prices[k]), float(gains[k] / now), float(rate[k] / now), width
            )
        )
    after = runs[-1].width_after if runs else before
    return Plan(target, budget, sum(run.cost for run in runs), before, after, tuple(runs))


def _gains(covariance: Array, count: int, noise: float) -> Array:
    """Variance that each candidate would take from the targets, summed over them."""
    cross = covariance[:count, count:]
    return (cross**2).sum(0) / (np.diagonal(covariance)[count:] + noise)


def _observe(covariance: Array, k: int, noise: float) -> Array:
    column = covariance[:, k]
    return covariance - np.outer(column, column) / (covariance[k, k] + noise)
