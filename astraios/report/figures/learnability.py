"""Which tasks follow the loss: correlation of score and test loss over all runs, and how far scores are from chance."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure

SQL = """\
select l.*, coalesce(k.title, l.task_id) as task
from learnability l
left join task k using (task_id)
order by l.correlation desc"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One bar for each task, from zero; the text says how many runs are clearly above chance."""
    share = (100 * pl.col("share_above_chance")).round(0).cast(pl.Int64)
    frame = frame.with_columns(words=pl.format("{}% above chance", share).fill_null("chance unknown"))
    low = min(0.0, *frame["correlation"].to_list())
    base = alt.Chart(frame).encode(
        y=alt.Y("task:N", sort=frame["task"].to_list(), title=None, axis=alt.Axis(labelFontSize=13, labelLimit=140)),
        tooltip=[
            alt.Tooltip("task:N"),
            alt.Tooltip("correlation:Q", title="correlation with loss (negative)", format=".3f"),
            alt.Tooltip("n_runs:Q", title="runs"),
            alt.Tooltip("lowest:Q", title="lowest score", format=".1%"),
            alt.Tooltip("highest:Q", title="highest score", format=".1%"),
            alt.Tooltip("stderr:Q", title="mean standard error", format=".1%"),
            alt.Tooltip("words:N", title="above chance by 2 SE"),
        ],
    )
    x = alt.X("correlation:Q", scale=alt.Scale(domain=[-1 if low < 0 else 0, 1]), axis=alt.Axis(tickCount=5),
              title="Pearson correlation with minus the loss")  # fmt: skip
    bars = base.mark_bar(height=14).encode(x=x)
    text = base.mark_text(align="left", dx=10).encode(x=alt.value("width"), text="words:N")
    return alt.layer(bars, text).properties(height=alt.Step(34), width=420)


FIGURE = Figure(
    name="learnability",
    title="Which tasks follow the loss",
    section="trust",
    order=40,
    caption="Correlation over all runs, and the share of runs that score above guessing by two standard errors. A task "
    "at chance, or flat in loss, can't be predicted from loss.",
    sql=SQL,
    draw=draw,
    missing="Too few runs have both a loss and a score: run astraios collect with tasks.",
)
