"""Final loss against the number of trainable parameters (the paper's figure 8)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes

SQL = """\
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, n_params, n_trainable,
    split || ' loss' as split, loss_nats, n_seeds
from method_size_grid
left join tuning_method t using (method_id)
where split in ('train', 'test') and n_trainable is not null
order by split, method_id, n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Each method's line goes from its smallest to its largest base model."""
    return lines(
        with_sizes(frame),
        size_axis(frame, "n_trainable", "trainable parameters"),
        "loss_nats",
        "nats per token",
        tooltip=tips("n_trainable", "loss_nats", "n_seeds"),
        facet="split",
        facet_order=["train loss", "test loss"],
        end_anywhere=True,
    )


FIGURE = Figure(
    name="loss-trainable",
    number=8,
    title="Loss against trainable parameters",
    section="loss",
    order=30,
    caption="Final cross-entropy against the number of parameters that the method trains; along a line the base "
    "model grows.",
    sql=SQL,
    draw=draw,
    missing="No losses with a count of trainable parameters are stored: run astraios collect.",
)
