"""Scores as the fits take them: one metric of one task, with standard errors."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import DataError
from astraios.fit.curve import Array, Mask
from astraios.fit.notes import FitWarning

if TYPE_CHECKING:
    import polars as pl

MEAN_TASK = "mean"
"""Task that stands for the mean over tasks; methods are ranked by it where it is there."""
AT = "@"
"""Between a run and the step of a score along its training."""
UNKNOWN_ERROR = 0.02
"""Standard error assumed for a score that comes with neither its own nor a number of items."""
_IN_UNITS = re.compile(
    r"(?i)(^|[^a-z])(rewards?|returns?|margin|regret|elo|perplexity|ppl|loss|nll|nats|bits|entropy|seconds?|secs?|ms|latency"
    r"|duration|runtime)([^a-z]|$)"
)
"""Words in the names of metrics that are quantities in a unit."""
_SHARES = re.compile(r"(?i)acc|rate|share|win|ratio")
"""Words that make a fraction of them all the same: the accuracy of a reward model."""


def best_possible(metric: str) -> float:
    """The best possible score where nobody says it: 1, or no limit for a quantity in a unit.

    >>> best_possible("pass@1"), best_possible("mean_reward"), best_possible("rewards/accuracies")
    (1.0, inf, 1.0)
    """
    return float("inf") if _IN_UNITS.search(metric) and not _SHARES.search(metric) else 1.0


@dataclass(frozen=True)
class ScoreData:
    """Scores of one metric of one task beside the losses of the same runs."""

    task_id: str
    metric: str
    group: tuple[str, ...]
    run_id: tuple[str, ...]
    log_size: Array
    loss: Array
    value: Array
    stderr: Array
    """Of each value, in its unit; never 0."""
    items: float
    chance: float
    """Score of guessing; NaN where nobody knows."""
    ceiling: float
    """Best possible score; infinite for a metric that is no fraction."""
    higher_is_better: bool
    log_tokens: Array | None = None
    """Log of the tokens that each run was trained on; None where nobody says."""
    along: ScoreData | None = None
    """Scores along training with the loss at that step, for links; run ids are `run@step`."""

    def __len__(self) -> int:
        return len(self.value)

    def keep(self, mask: Mask) -> ScoreData:
        """The rows where `mask` is true."""
        rows = np.flatnonzero(mask)
        along = None
        if self.along is not None:
            kept = {self.run_id[i] for i in rows}
            along = self.along.keep(np.array([run.rpartition(AT)[0] in kept for run in self.along.run_id]))
        return ScoreData(
            self.task_id, self.metric, tuple(self.group[i] for i in rows), tuple(self.run_id[i] for i in rows),
            self.log_size[rows], self.loss[rows], self.value[rows], self.stderr[rows], self.items, self.chance,
            self.ceiling, self.higher_is_better, None if self.log_tokens is None else self.log_tokens[rows],
            along if along else None,
        )  # fmt: skip


def read_scores(scores: pl.DataFrame, by_size: bool = False) -> tuple[ScoreData, ...]:
    """One `ScoreData` for each metric of each task, in that order.

    Args:
        scores: columns run_id, method_id, n_params, task_id, metric, value, and loss unless `by_size`; stderr, n,
            chance, ceiling and higher_is_better where they are known.
        by_size: no losses are needed and none are read.

    Raises:
        DataError: a column is missing.
    """
    import polars as pl

    needed = ["run_id", "method_id", "n_params", "task_id", "metric", "value", *([] if by_size else ["loss"])]
    missing = [name for name in needed if name not in scores.columns]
    if missing:
        raise DataError(f"no column {missing[0]!r} among the scores: they have {', '.join(scores.columns)}")
    scores = scores.filter(pl.all_horizontal(pl.col(needed).is_not_null()))
    found = []
    for (task, metric), rows in scores.group_by(["task_id", "metric"]):
        rows = rows.sort(["method_id", "n_params", "run_id"])

        def column(name: str, rows: pl.DataFrame = rows) -> Array:
            if name not in rows.columns:
                return np.full(len(rows), np.nan)
            return rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()

        chance, ceiling, value = column("chance"), column("ceiling"), column("value")
        low = float(chance[0])
        high = best_possible(str(metric)) if np.isnan(ceiling[0]) else float(ceiling[0])
        if value.min() < 0 or value.max() > high:  # no fraction: nothing is known that would limit it
            high = float("inf")
        items = column("n")
        typical = float(np.nanmedian(items)) if np.isfinite(items).any() else 1 / UNKNOWN_ERROR**2 / 4
        losses = np.full(len(rows), np.nan) if by_size else column("loss")
        better = bool(rows["higher_is_better"][0]) if "higher_is_better" in rows.columns else True
        found.append(
            ScoreData(
                str(task), str(metric), tuple(rows["method_id"]), tuple(rows["run_id"]), np.log(column("n_params")),
                losses, value, standard_errors(value, column("stderr"), items, low, high), typical, low, high, better,
                np.log(column("n_tokens")) if "n_tokens" in rows.columns else None,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda d: (d.task_id, d.metric)))


def mixed_engines(scores: pl.DataFrame | None, runs: Collection[str] | None = None) -> list[FitWarning]:
    """Which tasks have answers of several engines, whose samples are others.

    Args:
        scores: as `read_scores` takes them; without the column engine nothing is said.
        runs: only these.
    """
    import polars as pl

    if scores is None or "engine" not in scores.columns:
        return []
    known = scores.filter(pl.col("engine").is_not_null())
    if runs is not None:
        known = known.filter(pl.col("run_id").is_in(list(runs)))
    notes = []
    for (task,), rows in known.group_by(["task_id"], maintain_order=True):
        of = {engine: found["method_id"].unique().sort().to_list() for (engine,), found in rows.group_by(["engine"])}
        if len(of) > 1:
            said = "; ".join(f"{engine} for {', '.join(of[engine])}" for engine in sorted(of))
            words = f'{task}: answers of several engines ({said}): [task] engine = "transformers" makes them alike'
            notes.append(FitWarning("mixed_engines", words, str(task)))
    return notes


def standard_errors(value: Array, stderr: Array, items: Array, chance: float, ceiling: float) -> Array:
    """Each score's standard error: as given, else binomial with a floor for scores of 0 and 1, else an assumed one.

    Without a ceiling (no fraction) the assumed one is a share of the values' range.
    """
    given = np.isfinite(stderr) & (stderr > 0)
    if not np.isfinite(ceiling):
        assumed = UNKNOWN_ERROR * (float(np.ptp(value)) or float(np.abs(value).max()) or 1.0)
        return np.where(given, np.where(given, stderr, 1.0), assumed)
    known = np.isfinite(items) & (items > 0)
    n = np.where(known, items, 1.0)
    share = np.clip(value, 0, 1)
    binomial = np.sqrt((share * (1 - share) + 0.5 / n) / n)
    fallback = np.where(known, binomial, UNKNOWN_ERROR * max(ceiling, 1e-9))
    return np.where(given, np.where(given, stderr, 1.0), fallback)


def with_checkpoints(data: ScoreData) -> ScoreData:
    """Final scores and those along training as points of one link.

    Scores of one run depend on each other: together they weigh as much as one, with the spread of neighbours around
    their line beside their own error.
    """
    along = data.along
    if along is None or not len(along):
        return data
    owner = np.array([run.rpartition(AT)[0] for run in along.run_id])
    step = np.array([int(run.rpartition(AT)[2]) for run in along.run_id])
    stderr = along.stderr.copy()
    for run in set(owner):
        mine = np.flatnonzero(owner == run)
        mine = mine[np.argsort(step[mine])]
        values = along.value[mine]
        bend = values[1:-1] - (values[:-2] + values[2:]) / 2
        spread = float(np.sqrt(np.mean(bend**2) / 1.5)) if len(bend) else 0.0
        stderr[mine] = np.hypot(along.stderr[mine], spread) * np.sqrt(len(mine))
    return ScoreData(
        data.task_id, data.metric, data.group + along.group, data.run_id + along.run_id,
        np.concatenate([data.log_size, along.log_size]), np.concatenate([data.loss, along.loss]),
        np.concatenate([data.value, along.value]), np.concatenate([data.stderr, stderr]), data.items, data.chance,
        data.ceiling, data.higher_is_better,
    )  # fmt: skip
