"""Mean scores over tasks that a user chose: checked against what is known of the tasks, stored, listed, taken away."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from astraios.records import CompositeRow


def compose(db: Path, name: str, terms: Sequence[str], study: str | None = None) -> list[CompositeRow]:
    """Stores a mean score; one of the same name and study is replaced.

    Args:
        db: the database.
        name: of the mean.
        terms: TASK[:METRIC][=WEIGHT] each.
        study: that it is for, by its name, or a ladder for all its studies; None for all.

    Raises:
        UsageError: a malformed term, a task, metric or study that nobody knows, or a metric of which less is better.
    """
    from astraios.evaluate.composite import composite_rows

    rows = composite_rows(name, terms, None if study is None else store.composite_study(db, study))
    _check(db, rows)
    store.set_composites(db, rows)
    return rows


def _check(db: Path, rows: Sequence[CompositeRow]) -> None:
    from astraios.evaluate.tasks import TASKS

    scored: dict[str, dict[str, dict[str, Any]]] = {}
    for fact in store.scored_metrics(db, [row.task_id for row in rows]):
        scored.setdefault(fact["task_id"], {})[fact["metric"]] = fact
    for row in rows:
        metrics = scored.get(row.task_id)
        if metrics is None:
            # Nothing is scored on it yet; a task that astraios has may be, any other is a slip.
            TASKS.get(row.task_id)
            continue
        if row.metric is not None and row.metric not in metrics:
            raise UsageError(f"task {row.task_id!r} has no metric {row.metric!r}: {did_you_mean(row.metric, metrics)}")
        chosen = metrics[row.metric] if row.metric else next((m for m in metrics.values() if m["is_main_metric"]), None)
        if chosen and not chosen["higher_is_better"]:
            raise UsageError(
                f"of {row.task_id}:{chosen['metric']} less is better, so that it can't go into a mean score: "
                "choose another metric"
            )
