"""Ladders simulated before they are run: how wide and how honest their projections would be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.fit.ensemble import Ensemble, build


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
    power: float = float("nan")
    """Share of the ladders that separate two methods 1 % apart."""


TWIN, APART = "twin", 0.01
"""A method like the first, whose losses are so much higher: whether a ladder tells them apart."""
SPREAD = 0.04
"""Typical standard deviation of log losses between methods."""


def typical(names: Sequence[str], sizes: Sequence[float], seed: int = 0) -> Ensemble:
    """What is taken for the truth before anything was run: published exponents, methods some per cent apart.

    Raises:
        FitError: too few sizes.
    """
    import polars as pl

    from astraios.fit.observations import read, require_sizes
    from astraios.fit.weigh import candidates

    rng = np.random.default_rng(seed)
    scale = float(np.exp(np.mean(np.log(sizes))))
    rows = [
        {
            "g": name,
            "run_id": f"{name}-{size}",
            "n_params": float(size),
            "loss": shift * (1.8 + 1.2 * (size / scale) ** -0.35),
        }
        for name, shift in zip(names, np.exp(SPREAD * rng.standard_normal(len(names))), strict=True)
        for size in sizes
    ]
    ladder = read(pl.DataFrame(rows), group="g")
    require_sizes(ladder, pooled=len(ladder) > 1)
    return build(candidates("auto", ladder), ladder, seed=seed)


def simulate(
    ensemble: Ensemble, sizes: Sequence[float], target: float, seeds: int = 1, ladders: int = 20, level: float = 0.9,
    seed: int = 0, noise: float | None = None,
) -> Simulated:  # fmt: skip
    """Draw truths from a fit, run the planned ladder on each, fit it as usual, and look at the target.

    Args:
        sizes: sizes of the planned ladder.
        seeds: runs a cell.
        ladders: how many to simulate.
        level: of the interval.
        seed: of the simulation.
        noise: standard deviation of a run's log loss; the fit's by default.
    """
    import polars as pl

    from astraios.fit.observations import read

    rng, sigma = np.random.default_rng(seed), ensemble.scatter if noise is None else noise
    names, laws = ensemble.ladder.names, [fit.law for fit in ensemble.fits]
    columns = np.tile(np.log(np.append(np.asarray(sizes, float), target)), (len(names), 1))
    truth = ensemble.project({"n_params": columns}).draws
    rows = []
    for one in rng.choice(truth.shape[1], ladders, replace=ladders > truth.shape[1]):
        curve = np.concatenate([truth[:, one], truth[:1, one] + np.log1p(APART)])
        known = (*names, TWIN)
        runs = [
            {"g": name, "run_id": f"{name}-{j}-{s}", "n_params": float(size), "loss": float(np.exp(v))}
            for g, name in enumerate(known)
            for j, size in enumerate(sizes)
            for s, v in enumerate(curve[g, j] + sigma * rng.standard_normal(seeds))
        ]
        refit = build(laws, read(pl.DataFrame(runs), group="g"), seed=seed, count=200)
        drawn = refit.project({"n_params": np.full((len(known), 1), np.log(target))})
        low, high = drawn.interval(level, new=True)
        seen = np.exp(curve[:, -1] + sigma * rng.standard_normal(len(known)))
        inside = (low[:, 0] <= seen) & (seen <= high[:, 0])
        error = np.abs(np.exp(drawn.mean[:, 0] - curve[:, -1]) - 1)
        ahead = float((drawn.draws[0, :, 0] < drawn.draws[-1, :, 0]).mean())
        told = ahead > (1 + level) / 2
        rows.append([((high - low)[:, 0] / seen).mean(), inside.mean(), error.mean(), told])
    width, coverage, error, power = map(float, np.mean(rows, axis=0))
    return Simulated(tuple(map(float, sizes)), seeds, float(target), width, coverage, error, ladders, power)
