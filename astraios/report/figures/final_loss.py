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
where g.split in ('train', 'test'){only}
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


FAILING = """
    and (g.method_id in ('prompt', 'adalora') or exists (
        select 1
        from method_size_grid o
        where o.split = 'test' and o.method_id = g.method_id and o.origin = g.origin
            and o.dataset_id is not distinct from g.dataset_id
        having count(*) > 1 and max_by(o.loss_nats, o.n_params) > min_by(o.loss_nats, o.n_params)))"""
"""Prompt Tuning and AdaLoRA, and whatever method ends higher at its largest size than at its smallest."""

FIGURE = Figure(
    name="final-loss",
    number=3,
    title="Final loss across model sizes",
    section="loss",
    order=10,
    caption="Cross-entropy at the last evaluation, mean over seeds, on the training text and on held-out text. "
    "The loss axis does not start at zero.",
    sql=SQL.format(only=""),
    draw=draw,
    missing="No losses are stored: run astraios collect, or import training logs with astraios import.",
)

FAILURE = Figure(
    name="failure-loss",
    number=11,
    title="Methods that fail to scale: final loss",
    section="loss",
    order=60,
    caption="Prompt Tuning, AdaLoRA and any method whose final test loss is higher at the largest size than at the "
    "smallest. The usual cause is a learning rate that fits another size.",
    sql=SQL.format(only=FAILING),
    draw=draw,
    missing="No method fails to scale here, and neither Prompt Tuning nor AdaLoRA was run: run astraios collect with "
    "the methods prompt and adalora.",
)
