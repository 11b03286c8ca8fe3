"""Ends of decays of the learning rate as points of their own: several amounts of data from one run.

Where a rate stands at its peak and falls at last (warm-up-stable-decay), the loss at the end of a fall is about that of
a run that was planned to end there, whether the decay is a branch of a longer run (Hägele et al., 2024,
arXiv:2405.18392) or the run went on from its decayed state (Wen et al., 2024, arXiv:2410.05192). So each such end is a
point of size and data. What a run shows at its peak rate, or midway through a cosine, is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import DataError, did_you_mean
from astraios.fit.curve import Array
from astraios.fit.notes import FitWarning

if TYPE_CHECKING:
    import polars as pl

BEGUN = 0.9
"""Share of a run's peak that its rate has to reach first: what comes before is warm-up."""
LOW = 0.2
"""Share of its peak at or below which a rate has decayed."""
NEAR = 0.05
"""Share of the peak that the rate at a loss may lie above the lowest of its decay."""
NEEDED = ("run_id", "step", "learning_rate")


def decayed_ends(frame: pl.DataFrame, loss: str = "loss") -> tuple[pl.DataFrame, tuple[FitWarning, ...]]:
    """The last loss of each decay, and what was assumed and left out.

    Args:
        frame: a row an evaluation: run_id, step, learning_rate (null where it was not logged), the loss (null where
            only the rate was) and whatever else is known of the run there.
        loss: column of losses.

    Returns:
        The rows that stand at the end of a decay, in the order of runs and steps, without their steps and with the
        run's peak as the learning rate; and notes.

    Raises:
        DataError: a column is missing, or no rate decays.
    """
    import polars as pl

    lacking = [name for name in (*NEEDED, loss) if name not in frame.columns]
    if lacking:
        raise DataError(
            f"ends of decays need a row an evaluation, with {', '.join(NEEDED)}: no column {lacking[0]!r}: "
            f"{did_you_mean(lacking[0], frame.columns)}"
        )
    kept: list[pl.DataFrame] = []
    several, unseen, without = 0, 0, []
    for (name,), run in frame.sort("run_id", "step").group_by(["run_id"], maintain_order=True):
        rated, seen = run.filter(pl.col("learning_rate") >= 0), run.filter(pl.col(loss).is_not_null())
        decays = _decays(*(rated[column].cast(pl.Float64).to_numpy() for column in ("step", "learning_rate")))
        found = [_last(seen["step"].cast(pl.Float64).to_numpy(), *decay) for decay in decays]
        rows = [row for row in found if row is not None]
        unseen += len(found) - len(rows)
        several += len(rows) > 1
        if rows:
            kept.append(seen[rows].drop("step").with_columns(learning_rate=rated["learning_rate"].max()))
        else:
            without.append(str(name))
    if not kept:
        raise DataError(
            f"no learning rate decays to {LOW:.0%} of its peak with a loss at its end in these {len(without)} runs"
        )
    points = pl.concat(kept, how="vertical_relaxed")
    return points, _notes(points.height, len(kept), several, unseen, without)


def _notes(points: int, runs: int, several: int, unseen: int, without: list[str]) -> tuple[FitWarning, ...]:
    notes = [
        FitWarning(
            "decayed_ends",
            f"{points} ends of decays from {runs} runs are points ({several} runs have several): the loss at the end "
            f"of a decay (to {LOW:.0%} of the peak or less) is taken for that of a run planned to end there, and ends "
            "of one run share its luck",
        )
    ]
    if without or unseen:
        more = f" and {len(without) - 3} more" if len(without) > 3 else ""
        what = f"runs whose rate is not known or never decays: {', '.join(without[:3])}{more}" if without else ""
        lost = f"{unseen} decays without a loss at their end" if unseen else ""
        notes.append(FitWarning("left_out", f"left out: {'; '.join(part for part in (what, lost) if part)}"))
    return tuple(notes)


def _decays(step: Array, rate: Array) -> list[tuple[Array, Array, Array]]:
    """Of each stretch of decayed rates what is near the lowest: first and last step, steps, rates.

    The last stretch lasts for ever: a loss may come after the last rate.
    """
    peak = rate.max(initial=0.0)
    begun = np.maximum.accumulate(rate) >= BEGUN * peak
    low = begun & (rate <= LOW * peak) & (peak > 0)
    starts = np.flatnonzero(low & ~np.concatenate([[False], low[:-1]]))
    found = []
    for start in starts:
        above = np.flatnonzero(~low[start:])
        end = start + above[0] if len(above) else len(rate)
        near = start + np.flatnonzero(rate[start:end] <= rate[start:end].min() + NEAR * peak)
        bounds = np.array([step[near[0]], step[near[-1]] if len(above) else np.inf])
        found.append((bounds, step[near], rate[near]))
    return found


def _last(seen: Array, bounds: Array, step: Array, rate: Array) -> int | None:
    """The loss at the lowest rate of a decay, the last of several; None where it has none near it."""
    inside = np.flatnonzero((seen >= bounds[0]) & (seen <= bounds[1]))
    if not len(inside):
        return None
    there = np.interp(seen[inside], step, rate)
    return int(inside[np.flatnonzero(there <= there.min())[-1]])
