"""Task performance against final loss (the paper's figure 9)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, tips, with_sizes

SQL = """\
select g.origin, g.ladder, g.dataset_id, g.method_id, coalesce(t.title, g.method_id) as method, g.n_params,
    g.split || ' loss' as split, g.loss_nats, s.mean_score, s.n_tasks, g.n_seeds
from method_size_grid g
join mean_task_score s
    on s.is_main and s.origin = g.origin and s.model_id = g.model_id and s.method_id = g.method_id
    and s.dataset_id is not distinct from g.dataset_id
left join tuning_method t on t.method_id = g.method_id
where g.split in ('train', 'test')
order by split, g.method_id, g.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Better models are to the right: the loss axis is reversed, so that both axes improve outwards."""
    scale = alt.Scale(zero=False, nice=False, padding=14, reverse=True)
    title = "nats per token (axis reversed: better right)"
    return lines(
        with_sizes(frame), alt.X("loss_nats:Q", title=title, scale=scale, axis=alt.Axis(tickCount=5)),
        "mean_score", "mean score", tooltip=tips("loss_nats", "mean_score", "n_tasks", "n_seeds"),
        facet="split", facet_order=["train loss", "test loss"], as_percent=True, end_anywhere=True,
    )  # fmt: skip


FIGURE = Figure(
    name="score-loss",
    number=9,
    title="Mean score against loss",
    section="score",
    order=30,
    caption="Mean task performance against final cross-entropy; along a line the base model grows.",
    sql=SQL,
    draw=draw,
    missing="No runs have both a loss and a score: run astraios collect with tasks, or astraios score and import.",
)
