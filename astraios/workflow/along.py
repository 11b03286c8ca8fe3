"""Scores along training that level off: `astraios fit-scaling --over`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios import store
from astraios.errors import DataError, StoreError, UsageError, did_you_mean
from astraios.fit.request import FitRequest
from astraios.fit.sizes import parse_size
from astraios.fit.targets import SAME, number
from astraios.workflow.selecting import FileColumns, read_frame, size_names

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

    Sizes of the request that were not run are projected from the curves of each series at other sizes.

    Raises:
        StoreError: no database, or no scores along training in the study.
        UsageError: an unknown input.
        FitError: a curve with fewer than three scores; a size to project and fewer than two that were run.
    """
    if over not in OVER:
        raise UsageError(f"--over {over!r}: {did_you_mean(over, OVER)}")
    with store.reading(db) as connection:
        study = store.choose_study(connection, db, request.study, request.ladder)
        points = store.run_query(connection, POINTS.format(condition=study.condition))
        names = size_names(connection, study)
    if points.is_empty():
        raise StoreError(f"{db}: study {study.name} holds no scores along training: see the guide to tracking")
    asked = _Asked.of(request, score, names)
    found = []
    for (task, metric), part in points.group_by(["task_id", "metric"], maintain_order=True):
        rows = _curves(part.rename({OVER[over]: "x", "run_id": "curve"}), asked)
        found += [{"task_id": task, "metric": metric, "over": over, **row} for row in rows]
    return found


def along_file(path: Path, request: FitRequest, columns: FileColumns, over: str, score: float | None) -> list[Any]:
    """The same from a CSV or Parquet file: `columns.loss` names the scores, `columns.group` what tells curves apart.

    Where a group has several sizes, it is a series with a curve for each; else all curves are one series.

    Raises:
        DataError: no such file or column; two scores at one place of a curve.
    """
    import polars as pl

    frame = read_frame(path)
    asked = _Asked.of(request, score, {})
    sized = columns.n in frame.columns
    for name in (over, columns.loss, *([columns.group] if columns.group else []), *([columns.n] * bool(asked.sizes))):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    group = pl.col(columns.group).cast(pl.String) if columns.group else pl.lit("all")
    size = pl.col(columns.n).cast(pl.Float64) if sized else pl.lit(None, pl.Float64)
    table = frame.select(
        group.alias("series"), size.alias("n_params"), pl.col(over).alias("x"), pl.col(columns.loss).alias("value"),
        *([pl.col("n")] if "n" in frame.columns and columns.n != "n" else []),
    )  # fmt: skip
    several = bool((table.group_by("series").agg(pl.col("n_params").n_unique())["n_params"] > 1).any())
    texts = [f"{name} {number(n)}" if several else name for name, n in table.select("series", "n_params").iter_rows()]
    table = table.with_columns(curve=pl.Series(texts, dtype=pl.String))
    if not several:
        table = table.with_columns(series=pl.lit("all"))
    twice = table.drop_nulls(["x", "value"]).group_by("curve", "x").len().filter(pl.col("len") > 1).sort("curve", "x")
    if len(twice):
        curve, x, n = twice.row(0)
        raise DataError(
            f"{path}: {n} scores of curve {curve!r} at {over} {x}: name what tells curves apart with --group (and --n)"
        )
    return [{"over": over, **row} for row in _curves(table, asked)]


@dataclass(frozen=True)
class _Asked:
    """What is asked of curves."""

    level: float
    score: float | None
    sizes: tuple[float, ...]
    """Sizes that were not run."""

    @classmethod
    def of(cls, request: FitRequest, score: float | None, names: Mapping[str, float]) -> _Asked:
        return cls(request.level, score, tuple(parse_size(size, names) for size in request.targets))


def _curves(frame: pl.DataFrame, asked: _Asked) -> list[dict[str, Any]]:
    """Curves by their ceilings, then the sizes that were not run.

    Args:
        frame: of one task: curve (its name), series, n_params, x, value, and n (items) where it is known.
        asked: the question.
    """
    from astraios.fit.decide.saturation import ScoreCurve, of_size, ranked, saturating, told

    curves: list[ScoreCurve] = []
    series: dict[str, list[ScoreCurve]] = {}
    for (name,), part in frame.group_by(["curve"], maintain_order=True):
        part = part.drop_nulls(["x", "value"]).sort("x")
        scores = part["value"].cast(float).to_numpy()
        if len(scores) and not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1):
            raise DataError(f"{name}: scores that level off are fractions between 0 and 1; divide them by their most")
        known = part["n"].drop_nulls() if "n" in part.columns else None
        items = float(known.median()) if known is not None and len(known) else None  # type: ignore[arg-type]
        size = part["n_params"].drop_nulls()
        log_size = float(np.log(size[0])) if len(size) else None
        if asked.sizes and log_size is None:
            raise DataError(f"{name}: nothing says how large its model is, which --target needs to be known")
        curves.append(ScoreCurve(str(name), part["x"].cast(float).to_numpy(), scores, items, log_size))
        if log_size is not None:
            series.setdefault(str(part["series"][0]), []).append(curves[-1])
    sizes = {one.name: None if one.log_size is None else float(np.exp(one.log_size)) for one in curves}
    rows = [
        {**asdict(one), "n_params": sizes[one.name]} for one in ranked(saturating(curves), asked.score, asked.level)
    ]
    for name, members in series.items():
        for target in asked.sizes:
            if any(abs(float(one.log_size or 0) - np.log(target)) < SAME for one in members):
                raise UsageError(
                    f"--target {number(target)}: {name} was run at that size, and its curve is in the table"
                )
            fit = of_size(members, float(np.log(target)), name=f"{name} {number(target)}, not run")
            rows.append({**asdict(told(fit, asked.score, asked.level)), "n_params": target})
    return rows
