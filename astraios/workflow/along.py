"""Scores along training that level off: `astraios fit-scaling --over`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios import store
from astraios.errors import DataError, StoreError, UsageError, did_you_mean
from astraios.fit.request import FitRequest
from astraios.workflow.selecting import FileColumns, read_frame

if TYPE_CHECKING:
    import polars as pl

OVER = {"steps": "step", "tokens": "n_tokens", "flops": "flops", "seconds": "device_seconds"}
"""What scores can be followed over, and its column."""
POINTS = """\
select s.run_id, coalesce(r.series, s.run_id) as series, s.task_id, s.metric, s.step, s.n_tokens, s.device_seconds,
    6.0 * u.n_params * s.n_tokens as flops, s.value, s.n, u.n_params
from score_point s
join run u using (run_id)
left join run_series r using (run_id)
where s.{condition} and isfinite(s.value)
qualify s.attempt = max(s.attempt) over (partition by s.run_id)
order by s.task_id, s.metric, s.run_id, s.step"""


def along(db: Path, request: FitRequest, over: str, score: float | None) -> list[dict[str, Any]]:
    """Each run's scores as a curve with a ceiling, ranked by it, with what it takes to reach a score.

    Raises:
        StoreError: no database, or no scores along training in the study.
        UsageError: an unknown input.
        FitError: a curve with fewer than three scores.
    """
    if over not in OVER:
        raise UsageError(f"--over {over!r}: {did_you_mean(over, OVER)}")
    with store.reading(db) as connection:
        study = store.choose_study(connection, db, request.study, request.ladder)
        points = store.run_query(connection, POINTS.format(condition=study.condition))
    if points.is_empty():
        raise StoreError(f"{db}: study {study.name} holds no scores along training: see the guide to tracking")
    found = []
    for (task, metric), part in points.group_by(["task_id", "metric"], maintain_order=True):
        rows = _curves(part, OVER[over], "value", "run_id", score, request.level)
        found += [{"task_id": task, "metric": metric, "over": over, **row} for row in rows]
    return found


def along_file(path: Path, request: FitRequest, columns: FileColumns, over: str, score: float | None) -> list[Any]:
    """The same from a CSV or Parquet file: `columns.loss` names the scores, `columns.group` what tells curves apart.

    Raises:
        DataError: no such file or column.
    """
    frame = read_frame(path)
    for name in (over, columns.loss, *([columns.group] if columns.group else [])):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    group = columns.group or "curve"
    if columns.group is None:
        import polars as pl

        frame = frame.with_columns(pl.lit("all").alias(group))
    rows = _curves(frame, over, columns.loss, group, score, request.level)
    return [{"over": over, **row} for row in rows]


def _curves(
    frame: pl.DataFrame, over: str, value: str, group: str, score: float | None, level: float
) -> list[dict[str, Any]]:
    from astraios.fit.decide.saturation import ScoreCurve, ranked, saturating

    curves: list[ScoreCurve] = []
    for (name,), part in frame.group_by([group], maintain_order=True):
        part = part.drop_nulls([over, value]).sort(over)
        scores = part[value].cast(float).to_numpy()
        if len(scores) and not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
            raise DataError(f"{name}: scores that level off are fractions between 0 and 1; divide them by their most")
        known = part["n"].drop_nulls() if "n" in part.columns else None
        items = float(known.median()) if known is not None and len(known) else None  # type: ignore[arg-type]
        curves.append(ScoreCurve(str(name), part[over].cast(float).to_numpy(), scores, items))
    return [asdict(one) for one in ranked(saturating(curves), score, level)]
