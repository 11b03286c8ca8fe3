"""Test loss over training steps (the paper's figure 4)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, tips, with_sizes

SQL = """\
with mean as (
    select c.origin, m.ladder, c.dataset_id, c.method_id, c.n_params, c.step, avg(c.loss_nats) as loss_nats,
        count(distinct c.run_id) as n_seeds
    from loss_curve c
    left join base_model m using (model_id)
    where c.split = 'test'
    group by all
),
numbered as (
    select *, row_number() over (partition by origin, ladder, dataset_id, method_id, n_params order by step) - 1 as i,
        count(*) over (partition by origin, ladder, dataset_id, method_id, n_params) as n
    from mean
)
-- at most about 40 evaluations of each curve, always with the first and the last
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, n_params, step, loss_nats, n_seeds
from numbered
left join tuning_method t using (method_id)
where n > 1 and (i % greatest(1, n // 40) = 0 or i = n - 1)
order by n_params, method_id, step"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over steps, one panel for each size."""
    frame = with_sizes(frame).with_columns(panel=pl.col("size") + " parameters")
    order = frame.sort("n_params")["panel"].unique(maintain_order=True).to_list()
    x = alt.X("step:Q", title="optimizer steps", scale=alt.Scale(nice=False), axis=alt.Axis(tickCount=5))
    return lines(
        frame, x, "loss_nats", "test loss, nats per token", tooltip=tips("step", "loss_nats", "n_seeds"),
        facet="panel", facet_order=order, points=False,
    )  # fmt: skip


FIGURE = Figure(
    name="loss-curve",
    number=4,
    title="Test loss over training",
    section="loss",
    order=20,
    caption="Cross-entropy on held-out text while tuning, mean over seeds, on the same axis for all sizes.",
    sql=SQL,
    draw=draw,
    missing="No loss curves are stored: run astraios collect, or import training logs with astraios import.",
)
