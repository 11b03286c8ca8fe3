"""Projected loss with its intervals, beside what was measured and what the backtest predicted."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, log_ticks, panels, size_axis, span, tips, with_sizes

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
    union all by name
    select origin, ladder, dataset_id, method_id, 'law' as source, n_params, mean as loss, low, high, new_low, new_high,
        level, fit_id
    from latest_curve
    where n_tokens is null
)
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, source, n_params, loss,
    low, high, new_low, new_high, level, n_seeds, fit_id
from shown
left join tuning_method t using (method_id)
where (select count(*) from shown where source not in ('measured', 'law')) > 0
order by method_id, n_params, source"""
LAW = "law"
KINDS = ["measured", "predicted from smaller sizes", "projected from all sizes"]


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One panel for each method, best projection first: the law as a curve, in ribbons of the mean and of a new run."""
    bounds = pl.concat([frame["loss"], frame["new_low"], frame["new_high"]]).drop_nulls().to_list()
    return curves(frame, span(bounds), "test loss, nats per token")


def curves(frame: pl.DataFrame, ends: tuple[float, float], title: str) -> alt.FacetChart:
    """The same on a log axis with these ends; what lies below them is cut."""
    frame = with_sizes(frame)
    ahead_of = frame.filter(pl.col("source").is_in(KINDS[1:])).sort("n_params")
    order = ahead_of.group_by("method", maintain_order=True).last().sort("loss")["method"].to_list()
    scale = alt.Scale(type="log", domain=list(ends), nice=False)
    y = alt.Y("loss:Q", title=title, scale=scale, axis=alt.Axis(values=log_ticks(ends), format="~g"))
    kind = alt.Scale(domain=KINDS, range="ordinal")
    shown = tips("source", "loss", "level", "n_seeds", "fit_id", **interval(".4f"))
    points = frame.filter(pl.col("source") != LAW)
    base = alt.Chart(frame).encode(x=size_axis(points, title="parameters"))
    law = base.transform_filter(f"datum.source == '{LAW}'")
    wide = law.mark_area(opacity=0.14, clip=True).encode(y=alt.Y("new_low:Q", scale=scale), y2="new_high:Q")
    narrow = law.mark_area(opacity=0.24, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    curve = law.mark_line(strokeWidth=1.5, clip=True).encode(y=y)
    seen = base.transform_filter(f"datum.source != '{LAW}'")
    shade = alt.Color("source:N", title=None, scale=kind)
    bar = seen.mark_rule(strokeWidth=1.5, clip=True).encode(
        y=alt.Y("new_low:Q", scale=scale), y2="new_high:Q", color=shade
    )
    core = seen.mark_rule(strokeWidth=5, opacity=0.45, clip=True).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q", color=shade
    )
    marks = {KINDS[0]: True, KINDS[1]: False, KINDS[2]: True}
    dots = [
        seen.transform_filter(f"datum.source == '{name}'")
        .mark_point(size=34, filled=filled, opacity=1)
        .encode(
            y=y, color=shade, tooltip=shown,
            shape=alt.Shape(
                "source:N", title=None, scale=alt.Scale(domain=KINDS, range=["circle", "diamond", "square"])
            ),
        )
        for name, filled in marks.items()
    ]  # fmt: skip
    drawn = [wide, narrow, curve] if LAW in frame["source"] else []
    return panels(alt.layer(*drawn, bar, core, *dots).properties(height=200), "method", order, 3, frame)


FIGURE = Figure(
    name="projection-loss",
    title="Projected loss, and what was then measured",
    section="projection",
    order=20,
    caption="Both axes are logarithmic. The line is the projection over size, the dark ribbon holds its mean and the "
    "light one a new run; where data vary beside size the law is in the next chart. Circles: measured, mean over "
    "seeds. Open diamonds: the largest measured size, predicted from the smaller ones alone. Squares: projected from "
    "all sizes. Thick and thin bars are the same two intervals, at the level that the tooltip gives.",
    sql=SQL,
    draw=draw,
    missing="Nothing has been projected: run astraios fit-scaling --target SIZE.",
)
