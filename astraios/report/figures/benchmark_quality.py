"""Which tasks decide: how often small sizes order methods as the largest does, against signal to noise."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import HEIGHT, end_labels, label_ends, leaders, log_ticks

SQL = """\
select origin, ladder, dataset_id, title || ', ' || metric as task, metric, n_methods, n_pairs, decision_accuracy,
    signal_to_noise, n_needed, power, decides, words
from task_quality
where decision_accuracy is not null and signal_to_noise > 0 and is_best_metric
order by decision_accuracy desc, task"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point for each task, its name at the right edge; right and high is good."""
    frame = label_ends(frame.with_columns(method_id="task", method="task"), "decision_accuracy", (0, 1), height=HEIGHT)
    x = alt.X(
        "signal_to_noise:Q",
        title="signal to noise (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=14),
        axis=alt.Axis(values=log_ticks(frame["signal_to_noise"].to_list()), labelOverlap="greedy", format="~g"),
    )
    y = alt.Scale(domain=[0, 1])
    base = alt.Chart(frame)
    placed = base.encode(
        x=x,
        y=alt.Y(
            "decision_accuracy:Q",
            title="pairs in the order of the largest size",
            scale=y,
            axis=alt.Axis(format="%"),
        ),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("decision_accuracy:Q", title="pairs in order", format=".0%"),
            alt.Tooltip("n_pairs:Q", title="pairs"),
            alt.Tooltip("n_methods:Q", title="methods"),
            alt.Tooltip("signal_to_noise:Q", title="signal to noise", format=".2f"),
            alt.Tooltip("n_needed:Q", title="items needed", format=",.0f"),
            alt.Tooltip("power:Q", title="power of the items there are", format=".0%"),
            alt.Tooltip("words:N", title="in words"),
        ],
    )
    filled = alt.Color(
        "decides:N",
        title="decides",
        scale=alt.Scale(domain=[False, True], range="ordinal"),
        legend=alt.Legend(orient="bottom"),
    )
    dots = placed.mark_point(size=90, filled=True).encode(color=filled)
    names = [leaders(base, x, "decision_accuracy", y), end_labels(base, y)]
    return alt.layer(dots, *names).properties(height=HEIGHT, width=420)


FIGURE = Figure(
    name="benchmark-quality",
    title="Which tasks decide",
    section="trust",
    order=45,
    caption="How often the largest size but one orders two methods as the largest does, against the spread between "
    "methods over that of a repeated score. A coin orders half of the pairs; the colour says which tasks decide.",
    sql=SQL,
    draw=draw,
    missing="No task has been judged: run astraios benchmark-quality.",
)
