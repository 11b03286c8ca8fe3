"""Loss against device time of every measured cell, and the frontier of what no run beats on both."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import lines, log_ticks, tips, with_sizes

SQL = """\
select c.origin, c.ladder, c.dataset_id, c.method_id, coalesce(t.title, c.method_id) as method, c.n_params,
    avg(c.device_seconds) as device_seconds, avg(c.loss_nats) as loss_nats,
    avg(c.peak_memory_bytes) as peak_memory_bytes,
    avg(c.checkpoint_bytes) as checkpoint_bytes,
    bool_or(c.on_frontier) as on_frontier, count(*) as n_seeds
from cost_frontier c
left join tuning_method t using (method_id)
where c.split = 'test' and c.device_seconds > 0
group by c.origin, c.ladder, c.dataset_id, c.method_id, t.title, c.n_params
order by c.method_id, c.n_params"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Each method's line goes from its smallest to its largest base model."""
    frame = with_sizes(frame).with_columns(
        frontier=pl.when("on_frontier").then(pl.lit("no run is both cheaper and better")).otherwise(pl.lit("beaten"))
    )
    seconds = frame["device_seconds"].to_list()
    x = alt.X("device_seconds:Q", title="device seconds of a run (log scale)",
              scale=alt.Scale(type="log", nice=False, padding=14),
              axis=alt.Axis(values=log_ticks(seconds), format="~s"))  # fmt: skip
    shown = tips(
        "loss_nats",
        n_seeds=("timings", "d"),
        device_seconds=("device seconds", ",.1f"),
        frontier=("frontier", ""),
        peak_memory_bytes=("peak memory, bytes", ".3s"),
        checkpoint_bytes=("checkpoint, bytes", ".3s"),
    )
    return lines(frame, x, "loss_nats", "test loss, nats per token", tooltip=shown, end_anywhere=True)  # fmt: skip


FIGURE = Figure(
    name="cost-frontier",
    title="Loss against device time",
    section="cost",
    order=30,
    caption="As measured, mean over seeds; along a line the base model grows. The tooltip says of how many timings, "
    "and whether any run is both cheaper and better.",
    sql=SQL,
    draw=draw,
    missing="No device times are stored: run astraios collect.",
)
