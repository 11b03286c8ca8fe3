"""Final train and test loss across model sizes (the paper's figure 3)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes

SQL = """\
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, n_params,
    split || ' loss' as split, loss_nats, loss_sd, n_seeds
from method_size_grid
left join tuning_method t using (method_id)
where split in ('train', 'test')
order by split, method_id, n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over size, one panel for each split."""
    return lines(
        with_sizes(frame),
        size_axis(frame),
        "loss_nats",
        "nats per token",
        tooltip=tips("loss_nats", "loss_sd", "n_seeds"),
        facet="split",
        facet_order=["train loss", "test loss"],
    )


FIGURE = Figure(
    name="final-loss",
    number=3,
    title="Final loss across model sizes",
    section="loss",
    order=10,
    caption="Cross-entropy at the last evaluation, mean over seeds, on the training text and on held-out text. "
    "The loss axis does not start at zero.",
    sql=SQL,
    draw=draw,
    missing="No losses are stored: run astraios collect, or import training logs with astraios import.",
)
