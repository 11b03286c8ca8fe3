"""Where runs that are in training will end, as `astraios status --forecast` says: a chart of the live page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import polars as pl

from astraios.report.draw import tame
from astraios.report.marks import colour, span

TITLE = "Where running runs will end"
CAPTION = (
    "Open: the loss so far. Filled: the loss at the planned end, with its 90% interval, by the decay of the learning "
    "rate where it is known to the end, else by a power of the steps; the same as astraios status --forecast prints."
)
COLUMNS: Mapping[str, Any] = {
    "run_id": pl.String, "model_id": pl.String, "method_id": pl.String, "step": pl.Int64, "steps": pl.Int64,
    "loss": pl.Float64, "mean": pl.Float64, "low": pl.Float64, "high": pl.Float64, "law": pl.String, "why": pl.String,
}  # fmt: skip


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    """The forecasts (rows of `astraios.workflow.forecast`) as they may be drawn, best end first."""
    found = pl.DataFrame([{name: row.get(name) for name in COLUMNS} for row in rows], schema=COLUMNS)
    return tame(found).sort("mean", "loss", "run_id", nulls_last=True)


def draw(found: pl.DataFrame) -> alt.TopLevelMixin:
    """A row for each run: from where it is to where it will end; those without a forecast say why."""
    found = found.with_columns(
        name=pl.format("{}, {} ({})", "method_id", "model_id", "run_id"),
        words=pl.format("step {} of {}", pl.col("step").fill_null(0), pl.col("steps").cast(pl.String).fill_null("?"))
        + pl.when(pl.col("why").is_not_null()).then(pl.format(", {}", "why")).otherwise(pl.lit("")),
    )
    known = pl.concat([found["loss"], found["low"], found["high"]]).drop_nulls().to_list()
    scale = alt.Scale(domain=list(span(known or [0.0, 1.0])), nice=False)
    x = alt.X("loss:Q", title="loss, nats per token", scale=scale)
    shown = [
        alt.Tooltip("run_id:N", title="run"), alt.Tooltip("words:N", title="how far"),
        alt.Tooltip("loss:Q", title="so far", format=".4f"), alt.Tooltip("mean:Q", title="at the end", format=".4f"),
        alt.Tooltip("low:Q", title="from", format=".4f"), alt.Tooltip("high:Q", title="to", format=".4f"),
        alt.Tooltip("law:N", title="by"),
    ]  # fmt: skip
    y = alt.Y("name:N", sort=found["name"].to_list(), title=None, axis=alt.Axis(grid=True, labelLimit=240))
    base = alt.Chart(found).encode(y=y, color=colour(found), tooltip=shown)
    way = base.mark_rule(strokeDash=[2, 3], opacity=0.6).encode(x=x, x2="mean:Q")
    bar = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=alt.X("low:Q", scale=scale), x2="high:Q")
    now = base.mark_point(filled=False, size=55).encode(x=x)
    end = base.mark_point(size=70).encode(x=alt.X("mean:Q", scale=scale))
    words = base.mark_text(align="left", dx=10, style="soft-text").encode(x=alt.value("width"), text="words:N")
    return alt.layer(way, bar, now, end, words).properties(height=alt.Step(30), width=420)
