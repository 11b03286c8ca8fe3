"""pass@k over k: the samples that exist, and what more of them would give."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import colour, log_ticks, panels, with_sizes

SQL = """\
select p.origin, p.ladder, p.dataset_id, p.title as task, p.method_id, coalesce(m.title, p.method_id) as method,
    p.n_params, p.k, p.value, p.low, p.high, p.n_problems, p.n_samples, p.is_projected
from pass_at_k p
left join tuning_method m using (method_id)
order by p.task_id, p.n_params, p.method_id, p.k"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A curve for each method, a panel for each task and size; dashed beyond the samples."""
    frame = with_sizes(frame)
    frame = frame.with_columns(panel=pl.col("task") + ", " + pl.col("size"))
    shown = [
        alt.Tooltip("task:N"), alt.Tooltip("method:N"), alt.Tooltip("size:N"), alt.Tooltip("k:Q", format=","),
        alt.Tooltip("value:Q", title="pass@k", format=".1%"), alt.Tooltip("low:Q", format=".1%"),
        alt.Tooltip("high:Q", format=".1%"), alt.Tooltip("n_problems:Q", title="problems"),
        alt.Tooltip("n_samples:Q", title="samples a problem"),
    ]  # fmt: skip
    base = alt.Chart(frame).encode(
        x=alt.X(
            "k:Q", title="samples allowed, k (log scale)", scale=alt.Scale(type="log", nice=False),
            axis=alt.Axis(values=log_ticks(frame["k"].to_list()), labelOverlap="greedy", format="~s"),
        ),
        color=colour(frame),
        tooltip=shown,
    )  # fmt: skip
    y = alt.Y("value:Q", title="pass@k", axis=alt.Axis(format="%"), scale=alt.Scale(zero=True))
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line().encode(y=y)
    dots = base.mark_point(filled=True, size=36).encode(y=y, opacity=alt.Opacity("is_projected:N", legend=None,
        scale=alt.Scale(domain=[False, True], range=[1.0, 0.25])))  # fmt: skip
    order = frame["panel"].unique(maintain_order=True).to_list()
    return panels(alt.layer(band, line, dots).properties(height=200), "panel", order, 2, frame)


FIGURE = Figure(
    name="pass-at-k",
    title="pass@k over k",
    section="score",
    order=70,
    caption="Probability that one of k samples passes, with 90 % intervals over problems; pale points are projected "
    "beyond the samples there are, with what these leave open in the interval, or to a size that was not run.",
    sql=SQL,
    draw=draw,
    missing="No curve is stored: score programs, then run astraios pass-at-k.",
)
