"""Scores of tasks across model sizes (the paper's figures 5, 6, 12, 13 and 14, and every other task)."""

from __future__ import annotations

from functools import partial

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes

SQL = """\
select s.origin, s.ladder, s.dataset_id, s.method_id, coalesce(t.title, s.method_id) as method, s.task_id,
    coalesce(k.title, s.task_id) as task, s.metric, s.n_params, avg(s.value) as value, avg(s.stderr) as stderr,
    any_value(s.chance) as chance, count(distinct s.run_id) as n_seeds
from final_score s
left join task k using (task_id)
left join tuning_method t using (method_id)
where s.is_main_metric and s.value is not null and {where}
group by s.origin, s.ladder, s.dataset_id, s.method_id, t.title, s.task_id, k.title, s.metric, s.n_params
order by task, s.method_id, s.n_params"""

SHOWN = tips("task", "metric", "value", "chance", "n_seeds", stderr=("standard error", ".2%"))


def draw(frame: pl.DataFrame, own_axes: bool = False) -> alt.TopLevelMixin:
    """Lines over size: one panel for each task when there are several."""
    frame = with_sizes(frame)
    several = frame["task_id"].n_unique() > 1
    title = "score" if several else frame["metric"][0].replace("f1_macro", "macro F1").replace("_", " ")
    columns = 3 if frame["task_id"].n_unique() > 4 else 2
    places = [pl.col("task_id").str.contains(word) for word in ("-java", "explain", "fix")]
    order = frame.sort(*places, maintain_order=True)["task"].unique(maintain_order=True)
    x = size_axis(frame, title="parameters" if several else "parameters of the base model")
    return lines(
        frame,
        x,
        "value",
        title,
        tooltip=SHOWN,
        facet="task" if several else None,
        facet_order=order.to_list(),
        columns=columns,
        as_percent=True,
        floor=0.0,
        own_axes=own_axes and several,
        height=240 if several else 300,
    )


def one_task(name: str, number: int, title: str, task: str, shots: int, measure: str) -> Figure:
    """The figure of a single task."""
    how = "" if shots == 0 else f" --shots {shots}"
    paper, asked = (", or astraios import paper", task) if shots == 0 else ("", f'"{task}@{shots}"')
    return Figure(
        name=name,
        number=number,
        title=title,
        section="score",
        order=36 + number if number < 10 else 57 + number,
        caption=f"{measure} by size of the base model, mean over seeds. The axis need not start at zero.",
        sql=SQL.format(where=f"s.task_id = '{task}' and s.n_shot = {shots}"),
        draw=draw,
        missing=f"No scores of this task are stored: run astraios collect with {asked} among the tasks (--dry-run says "
        f"how to get its gold data), or astraios score --task {task}{how} on generations{paper}.",
    )


FIGURES = (
    one_task("defect-detection", 5, "Defect detection", "devign", 0, "Accuracy on Devign"),
    one_task("clone-detection", 6, "Clone detection", "bigclonebench", 0, "Macro F1 on BigCloneBench"),
    one_task("defect-one-shot", 13, "Defect detection with one example", "devign", 1, "Accuracy on Devign"),
    one_task("clone-one-shot", 14, "Clone detection with one example", "bigclonebench", 1, "Macro F1 on BigCloneBench"),
)

HUMANEVALPACK = Figure(
    name="humanevalpack",
    number=12,
    title="Pass@1 on HumanEvalPack",
    section="score",
    order=60,
    caption="Pass@1 by size of the base model, mean over seeds, all panels on the same axis.",
    sql=SQL.format(where="s.task_id like 'humaneval%' and s.n_shot = 0"),
    draw=draw,
    missing="No scores of HumanEvalPack are stored: run astraios score --task humanevalfix-python (and so on) on "
    "generations, or astraios import paper.",
)

OTHERS = Figure(
    name="task-score",
    title="Scores by task",
    section="score",
    order=20,
    caption="The main metric of each task by size of the base model, mean over seeds, each on an axis of its own. "
    "Tasks that have a figure of their own are left out.",
    sql=SQL.format(
        where="s.is_main_n_shot and s.task_id not in ('devign', 'bigclonebench', 'aatk')\n"
        "    and s.task_id not like 'humaneval%' and s.task_id not like 'recode-%'"
    ),
    draw=partial(draw, own_axes=True),
    missing="No scores of further tasks are stored: run astraios collect with tasks.",
)
