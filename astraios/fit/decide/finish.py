"""Final losses from part of a run: curves over steps, extrapolated with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import FitError
from astraios.fit.observations import read

if TYPE_CHECKING:
    import polars as pl

WARM_UP = 0.1
"""Share of the planned steps at the beginning of a run that no curve is fitted to."""


@dataclass(frozen=True)
class Finish:
    """Where one run would end."""

    run_id: str
    steps_seen: int
    steps: int
    mean: float
    low: float
    high: float
    hopeless: bool
    """Whether even the lower end lies above the loss to beat."""


def finish(
    frame: pl.DataFrame, steps: int, *, to_beat: float | None = None, level: float = 0.9, seed: int = 0
) -> list[Finish]:
    """Extrapolate the loss of unfinished runs to `steps`.

    Runs are pooled: their curves share a shape as far as the data say, so finished runs in the frame teach the
    unfinished ones how a schedule ends.

    Args:
        frame: columns run_id, step, loss: evaluations along each run.
        to_beat: a loss; runs that can't reach it any more are called hopeless (for early stopping).

    Raises:
        FitError: fewer than three evaluations after the warm-up in every run.
    """
    import polars as pl

    from astraios.fit.ensemble import build
    from astraios.fit.laws import LAWS

    used = frame.filter(pl.col("step") >= max(1, int(WARM_UP * steps))).select(
        group=pl.col("run_id").cast(pl.String), steps=pl.col("step").cast(pl.Float64), loss=pl.col("loss")
    )
    if used.is_empty() or used.group_by("group").len()["len"].max() < 3:  # type: ignore[operator]
        raise FitError("too short to extrapolate: three evaluations after the warm-up are needed in one run at least")
    ladder = read(used, inputs={"steps": "steps"}, group="group")
    ensemble = build([LAWS.get("steps")], ladder, seed=seed)
    drawn = ensemble.project({"steps": np.full((len(ladder), 1), np.log(steps))})
    low, high = drawn.interval(level, new=True)
    found = []
    for g, series in enumerate(ladder.series):
        seen = round(float(np.exp(series.inputs["steps"].max())))
        last = float(np.exp(series.log_loss[-1]))
        done = seen >= steps
        ends = (last, last, last) if done else (float(np.exp(drawn.mean[g, 0])), float(low[g, 0]), float(high[g, 0]))
        hopeless = to_beat is not None and ends[1] > to_beat
        found.append(Finish(series.name, seen, steps, *ends, hopeless))
    return found
