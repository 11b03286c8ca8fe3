"""Each task's score against test loss: what can be learnt from loss, and what can't."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, tips, with_sizes

SQL = """\
select s.origin, s.ladder, s.dataset_id, s.method_id, coalesce(t.title, s.method_id) as method, s.task_id,
    coalesce(k.title, s.task_id) as task, s.n_params, avg(s.loss_nats) as loss_nats, avg(s.value) as value,
    any_value(s.chance) as chance, count(distinct s.run_id) as n_seeds
from loss_to_score s
left join task k using (task_id)
left join tuning_method t using (method_id)
where s.split = 'test' and s.is_main_metric and s.is_main_n_shot and s.value is not null
group by s.origin, s.ladder, s.dataset_id, s.method_id, t.title, s.task_id, k.title, s.n_params
order by task, s.method_id, s.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One panel for each task; the loss axis is reversed, so that better is to the right and up."""
    scale = alt.Scale(zero=False, nice=False, padding=14, reverse=True)
    title = "test loss, nats per token (axis reversed)"
    return lines(
        with_sizes(frame), alt.X("loss_nats:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5)), "value", "score",
        tooltip=tips("task", "loss_nats", "value", "chance", "n_seeds"), facet="task", as_percent=True,
        end_anywhere=True, own_axes=True, height=240,
    )  # fmt: skip


FIGURE = Figure(
    name="score-loss-task",
    title="Score against test loss, task by task",
    section="score",
    order=31,
    caption="A task whose points climb to the right can be predicted from loss; one whose points lie flat can't. "
    "Each panel has an axis of its own.",
    sql=SQL,
    draw=draw,
    missing="No runs have both a loss and a score: run astraios collect with tasks.",
)
