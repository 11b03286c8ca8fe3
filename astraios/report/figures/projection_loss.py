"""Projected loss with its intervals, beside what was measured and what the backtest predicted."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, panels, size_axis, span, tips, with_sizes

SQL = """\
with shown as (
    select origin, ladder, dataset_id, method_id, 'measured' as source, n_params, loss_nats as loss, n_seeds
    from method_size_grid
    where split = 'test' and method_id in (select method_id from projection union all select method_id from backtest)
    union all by name
    select origin, ladder, dataset_id, method_id, 'predicted from smaller sizes' as source, n_params, mean as loss,
        new_low, new_high, level, fit_id
    from latest_backtest
    where quantity = 'loss' and coalesce(split, 'test') = 'test'
    union all by name
    select origin, ladder, dataset_id, method_id, 'projected from all sizes' as source, n_params, mean as loss,
        low, high, new_low, new_high, level, fit_id
    from latest_projection
    where quantity = 'loss' and role = 'target' and coalesce(split, 'test') = 'test'
)
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, source, n_params, loss,
    low, high, new_low, new_high, level, n_seeds, fit_id
from shown
left join tuning_method t using (method_id)
where (select count(*) from shown where source <> 'measured') > 0
order by method_id, n_params, source"""
KINDS = ["measured", "predicted from smaller sizes", "projected from all sizes"]


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One panel for each method, best projection first; thin bars hold one new run, thick bars the mean."""
    frame = with_sizes(frame)
    ahead_of = (
        frame.filter(pl.col("source") != KINDS[0]).sort("n_params").group_by("method", maintain_order=True).last()
    )
    order = ahead_of.sort("loss")["method"].to_list()
    bounds = pl.concat([frame["loss"], frame["new_low"], frame["new_high"]]).drop_nulls().to_list()
    y = alt.Y("loss:Q", title="test loss, nats per token", scale=alt.Scale(domain=list(span(bounds)), nice=False))
    kind = alt.Scale(domain=KINDS, range="ordinal")
    shown = tips("source", "loss", "level", "n_seeds", "fit_id", **interval(".4f"))
    x = size_axis(frame, title="parameters")
    base = alt.Chart(frame).encode(x=x)
    shade = alt.Color("source:N", title=None, scale=kind)
    path = base.transform_filter(f"datum.source == '{KINDS[0]}'").mark_line(strokeWidth=1.5).encode(y=y, color=shade)
    ahead = (
        base.transform_filter(f"datum.source == '{KINDS[2]}'")
        .mark_line(strokeWidth=1.5, strokeDash=[4, 3])
        .encode(y=y, color=shade)
    )
    bar = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("new_low:Q"), y2="new_high:Q", color=shade)
    core = base.mark_rule(strokeWidth=5, opacity=0.45).encode(y=alt.Y("low:Q"), y2="high:Q", color=shade)
    dots = base.mark_point(size=34).encode(
        y=y, color=shade, tooltip=shown,
        shape=alt.Shape("source:N", title=None, scale=alt.Scale(domain=KINDS, range=["circle", "diamond", "square"])),
    )  # fmt: skip
    chart = alt.layer(path, ahead, bar, core, dots).properties(height=200)
    return panels(chart, "method", order, 3, frame)


FIGURE = Figure(
    name="projection-loss",
    title="Projected loss, and what was then measured",
    section="projection",
    order=20,
    caption="Circles: measured, mean over seeds. Diamonds: predicted for the largest measured size from the smaller "
    "ones alone. Squares: projected from all sizes. Thin bars hold one new run, thick bars the mean, at the level that "
    "the tooltip gives.",
    sql=SQL,
    draw=draw,
    missing="Nothing has been projected: run astraios fit-scaling --target SIZE.",
)
