"""Cost against performance: what a run costs at the largest measured size, and the loss projected at the target."""

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
    select origin, ladder, dataset_id, method_id, n_params, avg(device_seconds) as device_seconds,
        avg(peak_memory_bytes) as peak_memory_bytes, avg(loss_nats) as loss_nats, count(*) as n_seeds
    from cost_frontier
    where split = 'test' and device_seconds > 0
    group by origin, ladder, dataset_id, method_id, n_params
    qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id, method_id)"""

SQL = f"""\
with cost as (
{COST}
)
select r.origin, r.ladder, r.dataset_id, r.method_id, coalesce(t.title, r.method_id) as method, r.n_params, r.mean,
    r.low, r.high, r.level, r.p_best, c.n_params as cost_n_params, c.device_seconds, c.peak_memory_bytes, c.n_seeds,
    r.fit_id
from ranking r
join cost c
    on c.method_id = r.method_id and c.origin is not distinct from coalesce(r.origin, c.origin)
    and c.ladder is not distinct from coalesce(r.ladder, c.ladder)
    and c.dataset_id is not distinct from coalesce(r.dataset_id, c.dataset_id)
left join tuning_method t on t.method_id = r.method_id
where r.is_target and r.quantity = 'loss'
order by c.device_seconds"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A point for each method, with the interval of its projected mean."""
    frame = with_sizes(frame)
    shown = tips("p_best_words", "level", "n_seeds", "fit_id", mean=("projected loss, nats", ".4f"),
                 device_seconds=("device seconds a run", ",.1f"), peak_memory_bytes=("peak memory, bytes", ".3s"),
                 **interval(".4f", "low", "high"))  # fmt: skip
    ends = span(pl.concat([frame["mean"], frame["low"], frame["high"]]).drop_nulls().to_list())
    seconds = frame["device_seconds"].to_list()
    x = alt.X(
        "device_seconds:Q",
        title="device seconds of a run (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=30),
        axis=alt.Axis(values=log_ticks(seconds), format="~s"),
    )
    scale = alt.Scale(domain=list(ends), nice=False)
    y = alt.Y("mean:Q", title=f"projected test loss at {frame['size'][0]}, nats per token", scale=scale)
    base = alt.Chart(label_ends(frame, "mean", ends)).encode(color=colour(frame))
    bars = base.mark_rule(strokeWidth=2, opacity=0.6).encode(
        x=x, y=alt.Y("low:Q", scale=scale), y2="high:Q", tooltip=shown
    )
    dots = base.mark_point(size=80).encode(x=x, y=y, shape=shape(frame), tooltip=shown)
    named = [leaders(base, x, "mean", scale), end_labels(base, scale)]
    return alt.layer(bars, dots, *named).properties(height=300, width=480)


FIGURE = Figure(
    name="cost-performance",
    title="Cost against performance at the target size",
    section="cost",
    order=20,
    caption="The cheapest good method is at the lower left. Cost is what a run took at the largest size measured, not "
    "an extrapolation; bars hold the projected mean.",
    sql=SQL,
    draw=draw,
    missing="No projection with a measured cost is stored: run astraios collect, then fit-scaling --target SIZE.",
)
