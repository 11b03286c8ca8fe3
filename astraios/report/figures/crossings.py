"""Where the projections of two methods cross."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import projected, size_axis, span
from astraios.report.theme import size_label

SQL = """\
select c.origin, c.ladder, c.dataset_id, c.quantity, coalesce(s.title, c.method_id) as before,
    coalesce(t.title, c.next_method_id) as after, c.n_params, c.mean, c.fit_id
from crossing c
left join tuning_method s on s.method_id = c.method_id
left join tuning_method t on t.method_id = c.next_method_id
order by c.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point for each crossing, with its words."""
    words = "{} gives way to {} at {}"
    frame = frame.with_columns(
        size=pl.col("n_params").map_elements(size_label, return_dtype=pl.String),
    ).with_columns(words=pl.format(words, "before", "after", "size"))
    y = alt.Y("words:N", sort=frame["words"].to_list(), title=None, axis=alt.Axis(labels=False, grid=True))
    ends = span(frame["n_params"].log10().to_list(), pad=0.3)
    axis = size_axis(frame).scale(type="log", domain=[10 ** ends[0], 10 ** ends[1]], nice=False)
    what, form = projected(frame)
    shown = [
        alt.Tooltip("words:N", title="crossing"),
        alt.Tooltip("mean:Q", title=f"projected {what}", format=form),
        alt.Tooltip("fit_id:N", title="fit"),
    ]
    base = alt.Chart(frame).encode(y=y, tooltip=shown)
    text = base.mark_text(align="left", dy=-13).encode(x=alt.value(0), text="words:N")
    return alt.layer(base.mark_point(size=80).encode(x=axis), text).properties(height=alt.Step(46), width=480)


FIGURE = Figure(
    name="crossings",
    title="Sizes at which methods change places",
    section="projection",
    order=25,
    caption="Where the projected means of two methods cross, within the sizes that were projected. A crossing of means "
    "says nothing about how sure it is: see the probability of being best.",
    sql=SQL,
    draw=draw,
    missing="No two methods change places between the sizes that are projected: run astraios fit-scaling with several "
    "--target SIZE to look further.",
)
