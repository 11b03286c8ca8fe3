"""Mean Robust Change@1 on ReCode (the paper's figure 7)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes
from astraios.report.theme import percent

SQL = """\
with category as (
    select origin, ladder, dataset_id, method_id, n_params, task_id, any_value(trainable_share) as trainable_share,
        avg(value) as value, count(distinct run_id) as n_seeds
    from final_score
    where task_id like 'recode-%' and metric = 'robust_change@1' and value is not null
    group by all
)
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, n_params,
    any_value(trainable_share) as trainable_share, avg(value) as robust_change, count(*) as n_tasks,
    max(n_seeds) as n_seeds
from category
left join tuning_method t using (method_id)
group by origin, ladder, dataset_id, method_id, t.title, n_params
order by method_id, n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over size; beside each name the mean share of parameters that the method updates."""
    share = pl.col("trainable_share").mean().over("method_id").map_elements(percent, return_dtype=pl.String)
    named = with_sizes(frame).with_columns(method=pl.format("{}  {}", "method", share))
    shown = tips("n_tasks", "n_seeds", "trainable_share", robust_change=("mean RC@1", ".2%"))
    return lines(
        named, size_axis(frame), "robust_change", "mean RC@1 (lower is more robust)", tooltip=shown, as_percent=True
    )


FIGURE = Figure(
    name="robustness",
    number=7,
    title="Loss of performance under perturbations",
    section="robustness",
    order=10,
    caption="Robust Change@1 on ReCode, mean over the kinds of perturbation; beside each name the mean share of "
    "parameters that it updates. Lower is more robust. The axis does not start at zero.",
    sql=SQL,
    draw=draw,
    missing="A change takes two scores of one run, on ReCode's tasks (recode-format and so on) and on nominal "
    "HumanEval (humaneval): run astraios collect with both among the tasks, astraios score --task recode-format "
    "--nominal PASS_AT_1 on generations, or astraios import paper.",
)
