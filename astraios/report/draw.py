"""From a figure and a query to a chart that can be shown: rows, specification, the fits behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from astraios.report.base import Figure, Query
from astraios.report.study import Study
from astraios.report.theme import clip

KEYS = ("origin", "ladder", "dataset_id")


@dataclass(frozen=True)
class Drawn:
    """A figure with its data; `spec` is None when the query gave no rows."""

    figure: Figure
    sql: str
    frame: pl.DataFrame
    spec: dict[str, Any] | None

    @property
    def fit_ids(self) -> list[str]:
        """The fits that the chart shows."""
        if "fit_id" not in self.frame.columns:
            return []
        return sorted(self.frame["fit_id"].drop_nulls().unique().to_list())

    @property
    def seeds(self) -> str:
        """How many runs stand behind each point, in words; empty when the figure has none."""
        if "n_seeds" not in self.frame.columns or self.frame["n_seeds"].drop_nulls().is_empty():
            return ""
        counts = self.frame["n_seeds"].drop_nulls().to_list()
        low, high = min(counts), max(counts)
        if low == high:
            return f"{low} seed{'' if low == 1 else 's'} behind each point."
        return f"{low} to {high} seeds behind each point."


def draw(figure: Figure, query: Query, study: Study | None) -> Drawn:
    """Runs the figure's query on one study and draws what it gives."""
    sql = study.select(figure.sql) if study else figure.sql
    frame = tame(query(sql))
    spec = (
        specification(figure.draw(frame.drop([name for name in KEYS if name in frame.columns])))
        if frame.height
        else None
    )
    return Drawn(figure, sql, frame, spec)


def tame(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows as they may be drawn: text of any length or content cut to what fits a label."""
    shorten = partial(clip, limit=40)
    text = [name for name, kind in frame.schema.items() if kind == pl.String and name not in KEYS]
    return frame.with_columns(pl.col(name).map_elements(shorten, return_dtype=pl.String) for name in text)


def specification(chart: Any) -> dict[str, Any]:
    """The Vega-Lite specification of a chart, without Altair's own theme and with names that never change."""
    spec: dict[str, Any] = json.loads(chart.to_json(indent=None, validate=False))
    spec.pop("config", None)
    for i, (key, rows) in enumerate(sorted(spec.get("datasets", {}).items())):
        text = json.dumps({**spec, "datasets": {}}).replace(key, f"data-{i}")
        spec = {**json.loads(text), "datasets": {**spec["datasets"], f"data-{i}": rows}}
        spec["datasets"].pop(key)
    return spec


def resize(spec: dict[str, Any], width: float, columns: int | None = None) -> dict[str, Any]:
    """The specification with another width of its plot, or of each panel, in `columns` columns."""
    if "facet" not in spec:
        return {**spec, "width": max(80, round(width))}
    inner = {**spec["spec"], "width": max(80, round(width))}
    return {**spec, "spec": inner, "columns": columns or spec.get("columns", 1)}
