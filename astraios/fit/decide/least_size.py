"""The least size whose projected score reaches a value, where runs have scores and no losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import FitError
from astraios.fit.curve import Array
from astraios.fit.scores import routes
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.routes import At, Routes

if TYPE_CHECKING:
    from astraios.fit.request import FitRequest

BEYOND = np.log(1e4)
"""Largest size that is searched, as a log multiple of the largest that was measured."""
GRID = 61
"""Sizes at which scores are drawn."""
DRAWS = 2000


@dataclass(frozen=True)
class LeastSize:
    """The least size of one series that reaches a score."""

    series: str
    n_params: float | None
    """None where the score is not reached."""
    low: float | None
    high: float | None
    """None where draws that never reach the score are more than the interval leaves out."""
    p_unreachable: float
    """Share of the draws that do not reach it at 10,000 times the largest size measured."""
    limit: float
    """What is projected there."""


def least_sizes(data: ScoreData, own: Sequence[ScoreData], goal: float, request: FitRequest) -> list[LeastSize]:
    """Where the projected score of each series comes to `goal`.

    A larger model is taken to score no worse: then the least size is below n as often as the score at n reaches the
    goal, and its quantiles are those of that share over sizes.

    Args:
        data: one metric of one task.
        own: other metrics of the task that it may go through.
        goal: in the metric's unit.
        request: link, way, level and seed.

    Raises:
        FitError: fewer than two sizes or three scores.
        UsageError: no such way or link.
    """
    if len(data) < 3 or len(np.unique(data.log_size)) < 2:
        raise FitError(f"{data.task_id}: {data.metric} has too few sizes to project: two at least, and three scores")
    ways = routes.build(data, None, own, link=request.law, through=request.through, seed=request.seed)
    names = tuple(dict.fromkeys(sorted(data.group)))
    grid = np.linspace(data.log_size.min() - 2.0, data.log_size.max() + BEYOND, GRID)
    drawn = np.stack([_drawn(ways, names, float(size), request.seed) for size in grid], axis=1)
    reached = drawn >= goal if data.higher_is_better else drawn <= goal
    share = np.maximum.accumulate(reached.mean(-1), axis=1)
    tail, found = (1 - request.level) / 2, []
    for g, name in enumerate(names):
        least, low, high = (_size(grid, share[g], at) for at in (0.5, tail, 1 - tail))
        rest = float(1 - share[g, -1]), float(np.median(drawn[g, -1]))
        found.append(LeastSize(name, least, None if least is None else low, high, *rest))
    return found


def _drawn(ways: Routes, names: tuple[str, ...], log_size: float, seed: int) -> Array:
    """Scores at a size, (series, draws)."""
    return ways.draw(np.random.default_rng([seed, 4]), At(names, log_size, None, None, DRAWS))[0]


def _size(grid: Array, share: Array, at: float) -> float | None:
    """The size at which a rising share comes to a value, between the sizes of the grid; None where it does not."""
    if share[-1] < at:
        return None
    k = int(np.argmax(share >= at))
    if k == 0:
        return float(np.exp(grid[0]))
    part = (at - share[k - 1]) / (share[k] - share[k - 1])
    return float(np.exp(grid[k - 1] + part * (grid[k] - grid[k - 1])))
