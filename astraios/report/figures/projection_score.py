"""Scores projected from the projected loss or from size, for each task."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import colour, interval, panels, shape, tips, with_sizes

SQL = """\
select p.origin, p.ladder, p.dataset_id, p.method_id, coalesce(m.title, p.method_id) as method, p.task_id,
    coalesce(k.title, case p.task_id when 'mean' then 'Mean task performance' else p.task_id end) as task,
    p.metric, p.n_params, p.mean, p.low, p.high, p.new_low, p.new_high, p.level, k.chance, p.fit_id
from latest_projection p
left join tuning_method m using (method_id)
left join task k using (task_id)
where p.quantity = 'score' and p.role = 'target' and p.mean is not null and p.metric = coalesce(k.metric, p.metric)
qualify p.n_params = max(p.n_params) over (partition by p.origin, p.ladder, p.dataset_id)
order by p.task_id <> 'mean', task, p.mean desc"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One panel for each task, one row for each method."""
    size = with_sizes(frame.head(1))["size"][0]
    frame = with_sizes(frame)
    means = frame.group_by("method", maintain_order=True).agg(pl.col("mean").mean())
    order = means.sort("mean", descending=True)["method"].to_list()
    shown = tips("task", "metric", "level", "chance", "fit_id", mean=("projected score", ".1%"), **interval(".1%"))
    base = alt.Chart(frame).encode(
        y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(grid=True)), color=colour(frame), tooltip=shown
    )
    scale = alt.Scale(zero=False, nice=True, padding=8)
    title = f"projected score at {size}"
    thin = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("new_low:Q", scale=scale, title=title, axis=alt.Axis(format="%", tickCount=5)), x2="new_high:Q"
    )
    thick = base.mark_rule(strokeWidth=4, opacity=0.5).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_point(size=70).encode(x=alt.X("mean:Q"), shape=shape(frame))
    chart = alt.layer(thin, thick, dots).properties(height=alt.Step(28))
    tasks = frame["task"].unique(maintain_order=True).to_list()
    return panels(chart, "task", tasks, 2, frame).resolve_scale(x="independent")


FIGURE = Figure(
    name="projection-score",
    title="Scores projected at the target size",
    section="projection",
    order=40,
    caption="The mean over tasks first, where it is projected; then the main metric of each task. Scores are predicted "
    "from the projected loss, or from size where no loss was measured. Thin bars: one new run; thick: the mean.",
    sql=SQL,
    draw=draw,
    missing="No score is projected: run astraios fit-scaling --target SIZE on runs with losses and scores.",
)
