"""Final train and test loss across model sizes (the paper's figure 3)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, size_axis, tips, with_sizes

SQL = """\
select g.origin, g.ladder, g.dataset_id, g.method_id, coalesce(t.title, g.method_id) as method, g.n_params,
    g.split || ' loss' as split, loss_nats, loss_sd, n_seeds
from method_size_grid g
left join tuning_method t using (method_id)
where g.split in ('train', 'test')
order by split, g.method_id, g.n_params"""


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
