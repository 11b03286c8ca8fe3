"""The methods ranked at the target size, with the probability that each is the best."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report import theme
from astraios.report.base import Figure
from astraios.report.marks import colour, interval, projected, shape, span, tips, with_sizes

SQL = """\
select r.origin, r.ladder, r.dataset_id, r.quantity, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params,
    r.mean, r.low, r.high, r.level, r.p_best, r.may_be_best, r.place, r.fit_id
from main_ranking r
left join tuning_method t using (method_id)
where r.is_target
order by case r.quantity when 'loss' then r.mean else -r.mean end"""


def chance(p: float) -> str:
    """A probability of being best, in words."""
    return f"{theme.chance(p)} best"


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One row for each method: projected loss or score with the interval of the mean, and the probability in words."""
    several = frame["may_be_best"].sum() > 1
    frame = with_sizes(frame).with_columns(
        verdict=pl.when(pl.col("may_be_best") & several).then(pl.lit("not separable from the best"))
        .when(pl.col("may_be_best")).then(pl.lit("best"))
        .otherwise(pl.lit("")),
    ).with_columns(
        words=pl.col("p_best").map_elements(chance, return_dtype=pl.String)
        + pl.when(pl.col("verdict").str.starts_with("not")).then(pl.lit(", not separable")).otherwise(pl.lit("")),
    )  # fmt: skip
    what, form = projected(frame)
    shown = tips("p_best_words", "verdict", "level", "fit_id", mean=(f"projected {what}", form),
                 **interval(form, "low", "high"))  # fmt: skip
    ends = span(pl.concat([frame["low"], frame["high"]]).drop_nulls().to_list())
    scale = alt.Scale(domain=list(ends), nice=False)
    size = frame["size"][0]
    title = f"projected {what} at {size}"
    base = alt.Chart(frame).encode(
        y=alt.Y("method:N", sort=frame["method"].to_list(), title=None,
                axis=alt.Axis(labelFontSize=13, labelPadding=8, grid=True)),
        color=colour(frame), tooltip=shown,
    )  # fmt: skip
    axis = alt.Axis(format=form) if form.endswith("%") else alt.Axis()
    low = alt.X("low:Q", scale=scale, title=title, axis=axis)
    bar = base.mark_rule(strokeWidth=3, opacity=0.5).encode(x=low, x2="high:Q")
    dot = base.mark_point(size=80).encode(x=alt.X("mean:Q", scale=scale), shape=shape(frame))
    text = base.mark_text(align="left", dx=10).encode(x=alt.value("width"), text="words:N")
    return alt.layer(bar, dot, text).properties(height=alt.Step(36), width=420)


FIGURE = Figure(
    name="ranking",
    title="Who wins at the target size",
    section="projection",
    order=10,
    caption="Projected test loss (the mean score, where no losses are projected) with the interval of the mean, and "
    "the probability that the method is the best. Methods are not separable when no single one reaches the level of "
    "the interval.",
    sql=SQL,
    draw=draw,
    missing="No ranking is stored: run astraios fit-scaling --target SIZE with two tuning methods or more.",
)
