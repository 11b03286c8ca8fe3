"""Final losses from part of a run: curves over steps, extrapolated with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import FitError
from astraios.fit.decide.schedule import Schedule, curves, ends
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
    """Whether even the lower end lies above the loss to beat, and no decay is still to begin."""
    law: str = "steps"
    """steps (a power of the steps), or multi_power, which knows the learning rate."""


def finish(
    frame: pl.DataFrame, steps: int | None = None, *, to_beat: float | None = None, level: float = 0.9, seed: int = 0
) -> list[Finish]:
    """Extrapolate the losses of unfinished runs to their ends.

    Where the learning rate is known to the planned end, the multi-power law tells what a decay is still worth (see
    `astraios.fit.decide.schedule`); finished runs teach the others. Other runs follow a power of their steps, pooled.

    Args:
        frame: a row an evaluation: run_id, step, loss; where schedules are known also learning_rate, with rows to the
            planned end whose loss is null, and kind (runs of one kind share their parameters: a size, a method).
        steps: the planned end of runs whose rates are not known to the end; needed where there are such.
        to_beat: a loss; runs that can't reach it any more are called hopeless (for early stopping), but none whose rate
            has not begun to fall and will.
        level: of the intervals.
        seed: of the resampling.

    Raises:
        FitError: fewer than three evaluations after the warm-up in every run; a run without rates and no `steps`.
    """
    import polars as pl

    if "learning_rate" not in frame.columns:
        frame = frame.with_columns(learning_rate=pl.lit(None, pl.Float64))
    planned: list[pl.DataFrame] = []
    others: list[pl.DataFrame] = []
    for (_,), part in frame.group_by(["run_id"], maintain_order=True):
        (planned if _has_schedule(part, steps) else others).append(part)
    found = _by_schedule(planned, to_beat, level) if planned else []
    if others:
        if steps is None:
            name = others[0]["run_id"][0]
            raise FitError(f"run {name}: its learning rates are not known to the end, so its planned steps are needed")
        found += _by_steps(pl.concat(others), steps, to_beat, level, seed)
    return found


def _has_schedule(run: pl.DataFrame, steps: int | None) -> bool:
    import polars as pl

    rates = run.filter(pl.col("learning_rate") > 0)
    return not rates.is_empty() and (steps is None or int(rates["step"].max() or 0) >= steps)  # type: ignore[arg-type]


def _by_schedule(runs: Sequence[pl.DataFrame], to_beat: float | None, level: float) -> list[Finish]:
    import polars as pl

    told = []
    for part in runs:
        part = part.sort("step")
        rates, seen = part.drop_nulls("learning_rate"), part.filter(pl.col("loss") > 0)
        told.append(
            Schedule(
                str(part["run_id"][0]), str(part["kind"][0]) if "kind" in part.columns else "",
                rates["step"].cast(pl.Float64).to_numpy(), rates["learning_rate"].to_numpy(),
                seen["step"].cast(pl.Float64).to_numpy(), seen["loss"].to_numpy(),
            )
        )  # fmt: skip
    gathered = curves([one for one in told if len(one.step)], WARM_UP)
    if not gathered:
        raise FitError("too short to extrapolate: three evaluations after the warm-up are needed in one run at least")
    reached = {one.run_id: (int(one.step[-1]), int(one.end)) for one in gathered}
    return [
        Finish(
            end.run_id, *reached[end.run_id], end.mean, end.low, end.high,
            to_beat is not None and end.low > to_beat and not end.waiting, "multi_power",
        )
        for end in ends(gathered, level)
    ]  # fmt: skip


def _by_steps(frame: pl.DataFrame, steps: int, to_beat: float | None, level: float, seed: int) -> list[Finish]:
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
