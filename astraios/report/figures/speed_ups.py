"""Speed-ups with their intervals, on a log axis around 1."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure

SQL = """\
select s.origin, s.ladder, s.dataset_id, p.faster as method_id, coalesce(t.title, p.faster) as method,
    coalesce(r.title, p.series) as reference, p.factor, p.low, p.high, p.separable, p.loss
from speed_up p
left join study s using (study_key)
left join tuning_method t on t.method_id = p.faster
left join tuning_method r on r.method_id = p.series
where p.unit = 'flops' and p.factor is not null
    and p.series = (select mode(series) from speed_up o where o.study_key = p.study_key)
order by p.loss"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point and an interval a method; open where it holds 1."""
    ends = pl.concat([frame["low"], frame["high"], frame["factor"], pl.Series([1.0])]).drop_nulls()
    frame = frame.with_columns(
        shown_low=pl.col("low").fill_null(ends.min()), shown_high=pl.col("high").fill_null(ends.max()),
        verdict=pl.when("separable").then(pl.lit("separable")).otherwise(pl.lit("not separable")),
    )  # fmt: skip
    scale = alt.Scale(type="log", nice=True, domain=[min(ends.to_list()), max(ends.to_list())])
    axis = alt.Axis(format="~g")
    title = f"FLOPs that {frame['reference'][0]} needs, as a multiple (log scale)"
    y = alt.Y("method:N", sort=frame["method"].to_list(), title=None)
    tips = [
        alt.Tooltip("method:N"), alt.Tooltip("factor:Q", format=".3g"), alt.Tooltip("low:Q", format=".3g"),
        alt.Tooltip("high:Q", format=".3g"), alt.Tooltip("verdict:N"),
    ]  # fmt: skip
    base = alt.Chart(frame).encode(y=y, tooltip=tips)
    bars = base.mark_rule(style="ink-line", strokeWidth=2).encode(
        x=alt.X("shown_low:Q", scale=scale, axis=axis, title=title), x2="shown_high:Q"
    )
    dots = base.mark_point(style="ink", filled=True).encode(
        x="factor:Q",
        shape=alt.Shape("verdict:N", title=None, scale=alt.Scale(range=["circle", "diamond"])),
    )
    one = alt.Chart(frame).mark_rule(style="soft-line", strokeDash=[4, 3]).encode(x=alt.datum(1))
    return alt.layer(one, bars, dots).properties(width=480, height=28 * frame.height)


FIGURE = Figure(
    name="speed-ups",
    title="How much faster each method is",
    section="planning",
    order=20,
    caption="What the reference method would need to reach each method's projected loss at the target, as a multiple "
    "of what that method needs, with its 90 % interval: right of 1 the method is faster than the reference.",
    sql=SQL,
    draw=draw,
    missing="No speed-ups are stored: run astraios fit-scaling with two tuning methods or more, whose amounts of data "
    "are known.",
)
