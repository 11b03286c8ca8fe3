"""What is known of tasks: chance levels, ceilings, directions and where they come from; and what a user corrects."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl


def known_tasks(db: Path, name: str | None = None) -> list[dict[str, Any]]:
    """Every metric of every task that has a score, or of one task, with what guessing scores and who says so.

    Raises:
        UsageError: nothing is known of the task.
        StoreError: there is no database.
    """
    rows = [_filled(row) for row in store.known_tasks(db)]
    if name is None:
        return rows
    mine = [row for row in rows if row["task_id"] == name]
    return mine or _not_scored(name, rows)


def correct_task(
    db: Path, name: str, *, chance: float | None = None, ceiling: float | None = None, metric: str | None = None
) -> list[dict[str, Any]]:
    """Records the chance level or the ceiling of a task, or of one of its metrics; it goes before what sources say.

    Raises:
        UsageError: no such task or metric; a level that its scores contradict.
    """
    rows = [row for row in known_tasks(db, name) if metric in (None, row["metric"])]
    if not rows:
        metrics = [row["metric"] for row in known_tasks(db, name)]
        raise UsageError(f"task {name!r} has no metric {metric!r}: {did_you_mean(str(metric), metrics)}")
    for row in rows:
        if metric or row["higher_is_better"]:
            _check(row, chance, ceiling)
    store.set_task_fact(db, name, metric, chance, ceiling)
    return known_tasks(db, name)


def forget_task(db: Path, name: str, metric: str | None = None) -> list[dict[str, Any]]:
    """Takes back what was said of a task.

    Raises:
        UsageError: nothing was said of it.
    """
    if not store.forget_task_facts(db, name, metric):
        raise UsageError(f"nothing was said of task {name!r}" + (f", metric {metric!r}" if metric else ""))
    return known_tasks(db, name)


def with_guessing(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores with the chance levels of common benchmarks where the database has none."""
    import polars as pl

    from astraios.evaluate.common_tasks import guessing

    if scores.is_empty() or not scores["chance"].null_count():
        return scores
    better = scores.filter(pl.col("chance").is_null() & pl.col("higher_is_better")).select("task_id", "metric").unique()
    found = [(task, metric, guessing(task, metric)) for task, metric in better.iter_rows()]
    known = pl.DataFrame(
        [row for row in found if row[2] is not None], schema=["task_id", "metric", "guessing"], orient="row",
        schema_overrides={"task_id": pl.String, "metric": pl.String, "guessing": pl.Float64},
    )  # fmt: skip
    joined = scores.join(known, on=["task_id", "metric"], how="left", maintain_order="left")
    return joined.with_columns(chance=pl.coalesce("chance", "guessing")).drop("guessing")


def _filled(row: dict[str, Any]) -> dict[str, Any]:
    from astraios.evaluate.common_tasks import common_task, guessing
    from astraios.fit.scores.data import best_possible

    known = common_task(row["task_id"])
    if row["ceiling"] is None and math.isfinite(best := best_possible(row["metric"])):
        row["ceiling"] = best
    if row["chance"] is None and row["higher_is_better"]:
        row["chance"] = guessing(row["task_id"], row["metric"])
        row["chance_from"] = None if row["chance"] is None else "benchmark"
    row["citation"] = row["citation"] or (known.citation if known else None)
    return row


def _not_scored(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A task that the database has no score of, as astraios or the registry describes it."""
    from astraios.evaluate.common_tasks import common_task
    from astraios.evaluate.tasks import TASKS

    blank = {"n_scores": 0, "lowest": None, "highest": None, "is_main_metric": True, "task_id": name}
    if name in TASKS:
        task = TASKS.get(name)
        return [
            {**blank, "metric": task.metric, "chance": task.chance, "chance_from": "task", "ceiling": task.ceiling,
             "higher_is_better": task.higher_is_better, "citation": task.citation or None}
        ]  # fmt: skip
    known = common_task(name)
    if known is None:
        raise UsageError(f"no task {name!r}: {did_you_mean(name, {row['task_id']: 0 for row in rows})}")
    metric = "acc" if known.choices else "exact_match"
    return [
        {**blank, "metric": metric, "chance": known.chance(metric), "chance_from": "benchmark", "ceiling": 1.0,
         "higher_is_better": metric not in known.lower_is_better, "citation": known.citation}
    ]  # fmt: skip


def _check(row: dict[str, Any], chance: float | None, ceiling: float | None) -> None:
    for option, value in (("--chance", chance), ("--ceiling", ceiling)):
        if value is not None and not math.isfinite(value):
            raise UsageError(f"{option} {value}: must be a number")
    low = row["chance"] if chance is None else chance
    high = row["ceiling"] if ceiling is None else ceiling
    if low is not None and high is not None and low >= high:
        raise UsageError(f"task {row['task_id']!r}: a chance level of {low:g} is not below a ceiling of {high:g}")
    if row["highest"] is not None and ceiling is not None and row["highest"] > ceiling:
        raise UsageError(
            f"task {row['task_id']!r} has a {row['metric']} of {row['highest']:.4g}, above --ceiling {ceiling:g}: "
            "scores are fractions; name one metric with --metric, or give the ceiling in its unit"
        )
