"""Mean task performance by method and size (the paper's figure 1)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes
from astraios.report.theme import percent

SQL = """\
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, n_params, mean_score, n_tasks,
    n_seeds, trainable_share,
    avg(trainable_share) over (partition by origin, ladder, dataset_id, method_id) as mean_share
from mean_task_score
left join tuning_method t using (method_id)
where is_main
order by method_id, n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over size; beside each name the mean share of parameters that the method updates."""
    share = pl.col("mean_share").map_elements(percent, return_dtype=pl.String)
    named = with_sizes(frame).with_columns(
        method=pl.when(pl.col("mean_share").is_null()).then("method").otherwise(pl.format("{}  {}", "method", share))
    )
    shown = tips("mean_score", "n_tasks", "n_seeds", "trainable_share")
    return lines(
        named, size_axis(frame), "mean_score", "mean score over tasks", tooltip=shown, as_percent=True, height=340
    )


FIGURE = Figure(
    name="mean-score",
    number=1,
    title="Mean task performance",
    section="score",
    order=10,
    caption="Mean over tasks by size of the base model; beside each name the share of parameters that it updates, "
    "mean over sizes. The score axis does not start at zero.",
    sql=SQL,
    draw=draw,
    missing="No scores are stored: run astraios collect with tasks, or astraios import paper for the published ones.",
)
