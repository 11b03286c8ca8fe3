"""Cost against performance at the target size: what a run would take there, and the loss projected there."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import (
    colour,
    end_labels,
    interval,
    label_ends,
    leaders,
    log_ticks,
    shape,
    span,
    tips,
    with_sizes,
)

COST = """\
    select origin, ladder, dataset_id, method_id, n_params, count(*) as n_timings,
        exp(avg(ln(device_seconds))) as measured_seconds, stddev_samp(ln(train_flops / device_seconds)) as rate_sd,
        exp(avg(ln(train_flops / device_seconds))) as flops_per_second, max(peak_memory_bytes) as peak_memory_bytes
    from cost_frontier
    where split = 'test' and device_seconds > 0 and train_flops > 0
    group by origin, ladder, dataset_id, method_id, n_params
    qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id, method_id)"""
"""What runs of each method took at the largest size that was timed; rates are averaged as logarithms."""

T = "[6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812]"
"""Student's t, 90 % two-sided, by degrees of freedom from 1."""

SQL = f"""\
with cost as (
{COST}
)
select r.origin, r.ladder, r.dataset_id, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params, r.mean,
    r.low, r.high, r.level, r.p_best, c.n_params as timed_n_params, c.n_timings, c.measured_seconds, c.flops_per_second,
    -- operations grow with the parameters, at the tokens of the runs that were timed, and the rate stays
    c.measured_seconds * r.n_params / c.n_params as device_seconds,
    {T}[least(c.n_timings - 1, 10)] * c.rate_sd * sqrt(1 + 1 / c.n_timings) as half,
    device_seconds * exp(-half) as seconds_low, device_seconds * exp(half) as seconds_high,
    c.peak_memory_bytes, r.fit_id
from ranking r
join cost c
    on c.method_id = r.method_id and c.origin is not distinct from coalesce(r.origin, c.origin)
    and c.ladder is not distinct from coalesce(r.ladder, c.ladder)
    and c.dataset_id is not distinct from coalesce(r.dataset_id, c.dataset_id)
left join tuning_method t on t.method_id = r.method_id
where r.is_target and r.quantity = 'loss'
order by device_seconds"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point for each method, with the intervals of its projected mean and of what a run would take."""
    frame = with_sizes(frame).with_columns(
        method=pl.when(pl.col("n_timings") == 1).then(pl.col("method") + " *").otherwise(pl.col("method"))
    )
    shown = tips("p_best_words", "level", "fit_id", n_timings=("timings", "d"), mean=("projected loss, nats", ".4f"),
                 device_seconds=("projected device seconds", ",.1f"), seconds_low=("from", ",.1f"),
                 seconds_high=("to", ",.1f"), measured_seconds=("measured device seconds", ",.1f"),
                 timed_n_params=("measured at", ".3~s"), flops_per_second=("operations a second", ".3s"),
                 peak_memory_bytes=("peak memory there, bytes", ".3s"),
                 **interval(".4f", "low", "high"))  # fmt: skip
    ends = span(pl.concat([frame["mean"], frame["low"], frame["high"]]).drop_nulls().to_list())
    seconds = pl.concat([frame["device_seconds"], frame["seconds_low"], frame["seconds_high"]]).drop_nulls().to_list()
    size = frame["size"][0]
    x = alt.X(
        "device_seconds:Q",
        title=f"device seconds at {size}, projected (log scale)",
        scale=alt.Scale(type="log", nice=False, domain=_room(seconds)),
        axis=alt.Axis(values=log_ticks(seconds), format="~s"),
    )
    scale = alt.Scale(domain=list(ends), nice=False)
    y = alt.Y("mean:Q", title=f"projected test loss at {size}, nats per token", scale=scale)
    base = alt.Chart(label_ends(frame, "mean", ends)).encode(color=colour(frame))
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", tooltip=shown
    )
    spreads = (
        base.transform_filter("isValid(datum.seconds_low)")
        .mark_rule(strokeWidth=2, opacity=0.6)
        .encode(x=alt.X("seconds_low:Q"), x2="seconds_high:Q", y=alt.Y("mean:Q", scale=scale), tooltip=shown)
    )
    dots = base.mark_point(size=80).encode(x=x, y=y, shape=shape(frame), tooltip=shown)
    named = [leaders(base, x, "mean", scale), end_labels(base, scale)]
    return alt.layer(bars, spreads, dots, *named).properties(height=300, width=480)


def _room(seconds: list[float]) -> list[float]:
    """Ends of a log axis with some room beside the outermost values."""
    return [min(seconds) / 1.15, max(seconds) * 1.15]


FIGURE = Figure(
    name="cost-performance",
    title="Cost against performance at the target size",
    section="cost",
    order=20,
    caption="The cheapest good method is at the lower left. Cost is projected to the target: its operations, which "
    "grow with the parameters at the tokens of the measured runs, over the rate that the largest size sustained. Bars "
    "across are 90% intervals for a new run, from the spread of repeated timings; a star marks a single timing, which "
    "has none. Upright bars hold the projected mean.",
    sql=SQL,
    draw=draw,
    missing="No projection with a measured cost is stored: run astraios collect, then fit-scaling --target SIZE.",
)
