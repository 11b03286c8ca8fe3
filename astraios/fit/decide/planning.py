"""Compute-optimal allocation, and ladders simulated before they are run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError
from astraios.fit.curve import Array
from astraios.fit.ensemble import Ensemble

FLOPS_PER_TOKEN = 6.0
"""Training FLOPs per parameter and token (Kaplan et al., 2020)."""


@dataclass(frozen=True)
class Allocation:
    """The best size and amount of data for a budget, with intervals."""

    flops: float
    n_params: float
    n_params_low: float
    n_params_high: float
    n_tokens: float
    n_tokens_low: float
    n_tokens_high: float
    exponent: float
    """Of the best size in the budget: N* ~ C^exponent around this budget."""
    exponent_low: float
    exponent_high: float
    loss: float
    p_no_optimum: float
    """Share of the draws whose best size lies at an end of the range that was searched."""


def allocate(
    ensemble: Ensemble, flops: float, group: str | None = None, level: float = 0.9, decades: float = 4
) -> Allocation:
    """Minimise the projected loss over sizes with N D = flops / 6.

    Raises:
        FitError: the fit does not use both size and data, or there is no such series.
    """
    names = ensemble.ladder.names
    if "n_tokens" not in ensemble.best.law.inputs or "n_params" not in ensemble.best.law.inputs:
        raise FitError("an allocation needs a fit over both size and data: give the column of tokens")
    if group is not None and group not in names:
        raise FitError(f"no series {group!r} in this fit: it has {', '.join(names)}")
    g = names.index(group) if group else 0
    middle = 0.5 * np.log(flops / FLOPS_PER_TOKEN)
    size = middle + np.linspace(-1, 1, 241) * decades / 2 * np.log(10)
    losses, best, edge = [], [], []
    for budget in (flops, flops * np.e):
        data = np.log(budget / FLOPS_PER_TOKEN) - size
        drawn = _curves(ensemble, g, size, data)
        losses.append(drawn)
        k = drawn.argmin(1)
        edge.append((k == 0) | (k == len(size) - 1))
        best.append(_vertex(size, drawn, k))
    inside = ~(edge[0] | edge[1])
    if inside.sum() < 10:
        raise FitError(
            f"no interior optimum at {flops:.3g} FLOPs: {1 - inside.mean():.0%} of the draws end at the range's edge"
        )
    tail = [(1 - level) / 2, 0.5, (1 + level) / 2]
    low, mid, high = np.quantile(best[0][inside], tail)
    e_low, e_mid, e_high = np.quantile((best[1] - best[0])[inside], tail)
    total = np.log(flops / FLOPS_PER_TOKEN)
    least = float(np.exp(np.median(losses[0].min(1))))
    return Allocation(
        flops, float(np.exp(mid)), float(np.exp(low)), float(np.exp(high)), float(np.exp(total - mid)),
        float(np.exp(total - high)), float(np.exp(total - low)), float(e_mid), float(e_low), float(e_high), least,
        float(1 - inside.mean()),
    )  # fmt: skip


def _curves(ensemble: Ensemble, g: int, size: Array, data: Array) -> Array:
    """Log losses along an isoFLOP line, (draws, sizes), of parameters and laws alone."""
    parts = []
    for fit, theta in zip(ensemble.fits, ensemble.draws, strict=True):
        if theta.shape[1]:
            inputs = {"n_params": size, "n_tokens": data}
            x = np.stack([inputs[n] - c for n, c in zip(fit.law.inputs, fit.centre, strict=True)])
            parts.append(fit.law.evaluate(theta[g], x)[0])
    return np.concatenate(parts)


def _vertex(grid: Array, values: Array, k: Array) -> Array:
    """Minimum of the parabola through the smallest value and its neighbours."""
    k = np.clip(k, 1, len(grid) - 2)
    rows = np.arange(len(values))
    left, here, right = values[rows, k - 1], values[rows, k], values[rows, k + 1]
    bend = left - 2 * here + right
    shift = np.where(np.abs(bend) > 1e-15, 0.5 * (left - right) / np.where(bend == 0, 1, bend), 0.0)
    return grid[k] + np.clip(shift, -1, 1) * (grid[1] - grid[0])


@dataclass(frozen=True)
class Simulated:
    """What a planned ladder would give: width and coverage of the 90 % interval at the target."""

    sizes: tuple[float, ...]
    seeds: int
    target: float
    width: float
    """Mean width of a new run's interval, relative to the loss."""
    coverage: float
    relative_error: float
    ladders: int


def simulate(
    ensemble: Ensemble, sizes: Sequence[float], target: float, seeds: int = 1, ladders: int = 20, level: float = 0.9,
    seed: int = 0,
) -> Simulated:  # fmt: skip
    """Draw truths from a fit, run the planned ladder on each, fit it as usual, and look at the target.

    Args:
        sizes: sizes of the planned ladder.
        seeds: runs a cell.
        ladders: how many to simulate.
    """
    import polars as pl

    from astraios.fit.ensemble import build
    from astraios.fit.observations import read

    rng = np.random.default_rng(seed)
    names, laws = ensemble.ladder.names, [fit.law for fit in ensemble.fits]
    columns = np.tile(np.log(np.append(np.asarray(sizes, float), target)), (len(names), 1))
    truth = ensemble.project({"n_params": columns}).draws
    rows = []
    for one in rng.choice(truth.shape[1], ladders, replace=ladders > truth.shape[1]):
        curve = truth[:, one]
        runs = [
            {"g": name, "run_id": f"{name}-{j}-{s}", "n_params": float(size), "loss": float(np.exp(v))}
            for g, name in enumerate(names)
            for j, size in enumerate(sizes)
            for s, v in enumerate(curve[g, j] + ensemble.sigma * rng.standard_normal(seeds))
        ]
        refit = build(laws, read(pl.DataFrame(runs), group="g"), seed=seed, count=200)
        drawn = refit.project({"n_params": np.full((len(names), 1), np.log(target))})
        low, high = drawn.interval(level, new=True)
        seen = np.exp(curve[:, -1] + ensemble.sigma * rng.standard_normal(len(names)))
        inside = (low[:, 0] <= seen) & (seen <= high[:, 0])
        error = np.abs(np.exp(drawn.mean[:, 0] - curve[:, -1]) - 1)
        rows.append([((high - low)[:, 0] / seen).mean(), inside.mean(), error.mean()])
    width, coverage, error = np.mean(rows, axis=0)
    return Simulated(
        tuple(map(float, sizes)), seeds, float(target), float(width), float(coverage), float(error), ladders
    )
