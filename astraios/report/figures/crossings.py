"""Where the projections of two methods cross."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import size_axis, span
from astraios.report.theme import size_label

SQL = """\
with point as (
    select origin, ladder, dataset_id, method_id, n_params, mean, level, fit_id,
        lead(n_params) over (partition by origin, ladder, dataset_id, method_id order by n_params) as next_n,
        lead(mean) over (partition by origin, ladder, dataset_id, method_id order by n_params) as next_mean
    from latest_projection
    where role = 'target' and quantity = 'loss' and coalesce(split, 'test') = 'test'
),
pair as (
    select a.origin, a.ladder, a.dataset_id, a.method_id as before_id, b.method_id as after_id, a.n_params, a.next_n,
        a.mean, a.next_mean, a.mean - b.mean as gap, a.next_mean - b.next_mean as next_gap, a.fit_id
    from point a
    join point b
        on a.origin is not distinct from b.origin and a.ladder is not distinct from b.ladder
        and a.dataset_id is not distinct from b.dataset_id and a.n_params = b.n_params and a.method_id <> b.method_id
    where a.next_n is not null and b.next_n = a.next_n
)
-- between two projected sizes the means are taken as straight in log size
select p.origin, p.ladder, p.dataset_id, coalesce(s.title, p.before_id) as before,
    coalesce(t.title, p.after_id) as after,
    exp(ln(p.n_params) + p.gap / (p.gap - p.next_gap) * (ln(p.next_n) - ln(p.n_params))) as n_params,
    p.mean + p.gap / (p.gap - p.next_gap) * (p.next_mean - p.mean) as loss, p.fit_id
from pair p
left join tuning_method s on s.method_id = p.before_id
left join tuning_method t on t.method_id = p.after_id
where p.gap < 0 and p.next_gap > 0
order by n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point for each crossing, with its words."""
    words = "{} gives way to {} at {}"
    frame = frame.with_columns(
        size=pl.col("n_params").map_elements(size_label, return_dtype=pl.String),
    ).with_columns(words=pl.format(words, "before", "after", "size"))
    y = alt.Y("words:N", sort=frame["words"].to_list(), title=None, axis=alt.Axis(labels=False, grid=True))
    ends = span(frame["n_params"].log10().to_list(), pad=0.3)
    axis = size_axis(frame).scale(type="log", domain=[10 ** ends[0], 10 ** ends[1]], nice=False)
    shown = [
        alt.Tooltip("words:N", title="crossing"),
        alt.Tooltip("loss:Q", title="projected loss, nats", format=".4f"),
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
