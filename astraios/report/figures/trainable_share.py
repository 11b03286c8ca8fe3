"""Share of trainable parameters by tuning method and size (the paper's figure 2)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import colour, log_ticks, shape, tips, with_sizes
from astraios.report.theme import percent

SQL = """\
select r.origin, m.ladder, r.dataset_id, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params,
    max(r.n_trainable) as n_trainable, max(r.n_trainable) / r.n_params as trainable_share
from run r
left join base_model m using (model_id)
left join tuning_method t using (method_id)
where r.n_trainable is not null
group by r.origin, m.ladder, r.dataset_id, r.method_id, t.title, r.n_params
order by r.method_id, r.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One row for each method, one dot for each size, on a log axis of the share."""
    frame = with_sizes(frame).with_columns(
        share=pl.col("trainable_share").map_elements(percent, return_dtype=pl.String),
        is_last=pl.col("n_params") == pl.col("n_params").max().over("method_id"),
        mark=pl.col("n_params").rank("dense").cast(pl.Int64),
    )
    means = frame.group_by("method", maintain_order=True).agg(pl.col("trainable_share").mean())
    order = means.sort("trainable_share")["method"].to_list()
    base = alt.Chart(frame).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(labelFontSize=13, labelPadding=8, grid=True)),
        x=alt.X("trainable_share:Q", title="trainable share of all parameters (log scale)",
                scale=alt.Scale(type="log", nice=False, padding=24),
                axis=alt.Axis(format="~%", values=log_ticks(frame["trainable_share"].to_list()))),
        color=colour(frame),
    )  # fmt: skip
    reach = base.mark_line(strokeWidth=2, opacity=0.45).encode(detail="method_id:N")
    dots = base.mark_point().encode(
        size=alt.Size("mark:O", legend=None, scale=alt.Scale(range=[25, 110])), shape=shape(frame),
        tooltip=tips("share", "n_trainable"),
    )  # fmt: skip
    text = (
        base.transform_filter("datum.is_last")
        .mark_text(dy=-14, fontSize=11)
        .encode(text="share:N", tooltip=alt.value(None))
    )
    return alt.layer(reach, dots, text).properties(height=alt.Step(38), width=480)


FIGURE = Figure(
    name="trainable-share",
    number=2,
    title="Share of parameters that each method trains",
    section="cost",
    order=10,
    caption="One dot for each base model, larger dots for larger models; the share at the largest is written.",
    sql=SQL,
    draw=draw,
    missing="No runs with a count of trainable parameters are stored: run astraios collect.",
)
