"""Loss against size at equal budgets, with the minima and the line through them."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import panels, size_axis, span
from astraios.report.theme import size_label

SQL = """\
select origin, ladder, dataset_id, coalesce(t.title, series) as method, series, flops, n_params, n_tokens, loss,
    is_best, fit_id
from isoflop_line
left join tuning_method t on t.method_id = series
order by series, flops, n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A curve a budget, its minimum marked, the line drawn through the minima; a panel a series."""
    frame = frame.with_columns(
        budget=pl.col("flops").map_elements(lambda c: f"{c:.2g}", return_dtype=pl.String) + " FLOPs",
        size=pl.col("n_params").map_elements(size_label, return_dtype=pl.String),
        data=pl.col("n_tokens").map_elements(size_label, return_dtype=pl.String),
    )
    best = frame.filter("is_best")
    ends = span([*best["loss"].to_list(), float(best["loss"].max()) * 1.25])  # type: ignore[arg-type]
    y = alt.Y("loss:Q", title="projected loss, nats per token", scale=alt.Scale(domain=list(ends), nice=False))
    x = size_axis(frame)
    order = best.sort("flops")["budget"].unique(maintain_order=True).to_list()
    tips = [
        alt.Tooltip("budget:N", title="budget"), alt.Tooltip("size:N", title="parameters"),
        alt.Tooltip("data:N", title="tokens"), alt.Tooltip("loss:Q", title="loss, nats", format=".4f"),
    ]  # fmt: skip
    base = alt.Chart(frame)
    strengths = [0.35 + 0.65 * (i + 1) / len(order) for i in range(len(order))]
    shade = alt.Opacity(
        "budget:O", scale=alt.Scale(domain=order, range=strengths), legend=alt.Legend(title=None, orient="bottom")
    )
    curves = base.mark_line(clip=True).encode(x=x, y=y, detail="budget:N", opacity=shade, tooltip=tips)
    minima = base.transform_filter("datum.is_best").encode(x=x, y=y, tooltip=tips)
    law = minima.mark_line(strokeDash=[4, 3], style="soft-line", clip=True)
    dots = minima.mark_point(clip=True)
    chart = alt.layer(curves, law, dots).properties(height=260)
    if frame["series"].n_unique() > 1:
        return panels(chart, "method", None, 2, frame)
    return chart.properties(width=480)


FIGURE = Figure(
    name="isoflop",
    title="Loss at equal budgets",
    section="planning",
    order=10,
    caption="Each curve is one budget of training FLOPs, shared between size and data: its minimum is the best size. "
    "The three palest lie within what was measured, the others at one, ten and a hundred times the largest budget.",
    sql=SQL,
    draw=draw,
    missing="The amounts of data do not vary by themselves, so nothing tells how a budget is best shared: run "
    "astraios fit-scaling on runs of several sizes with several amounts of data each.",
)
