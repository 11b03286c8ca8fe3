"""Coverage of the intervals in all backtests so far: nominal against achieved."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure

SQL = """\
select origin, ladder, dataset_id, quantity, level as nominal, avg(covered::int) as achieved, count(*) as n,
    avg(relative_error) as relative_error, avg(carry_forward_error) as carry_forward_error
from latest_backtest
where covered is not null
group by origin, ladder, dataset_id, quantity, level
order by quantity, level"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One row for each quantity and level: the share that was covered, beside a tick at what was promised."""
    frame = frame.with_columns(
        name=pl.format("{}, {}% intervals", "quantity", (100 * pl.col("nominal")).round(0).cast(pl.Int64)),
        words=pl.format("{} of {}", (pl.col("achieved") * pl.col("n")).round(0).cast(pl.Int64), "n"),
    )
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", title=None, axis=alt.Axis(labelFontSize=13, labelLimit=200)),
        tooltip=[
            alt.Tooltip("quantity:N"),
            alt.Tooltip("nominal:Q", title="promised", format=".0%"),
            alt.Tooltip("achieved:Q", title="covered", format=".0%"),
            alt.Tooltip("n:Q", title="backtests"),
            alt.Tooltip("relative_error:Q", title="mean relative error", format=".2%"),
            alt.Tooltip("carry_forward_error:Q", title="error of carrying forward", format=".2%"),
        ],
    )
    x = alt.X("achieved:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5),
              title="share inside their intervals (line: promised)")  # fmt: skip
    bars = base.mark_bar(height=14).encode(x=x)
    line = base.mark_tick(thickness=3, size=30, style="accent").encode(x=alt.X("nominal:Q"))
    text = base.mark_text(align="left", dx=10).encode(x=alt.value("width"), text="words:N")
    return alt.layer(bars, line, text).properties(height=alt.Step(40), width=420)


FIGURE = Figure(
    name="calibration",
    title="Do the intervals hold what they promise?",
    section="trust",
    order=10,
    caption="Backtests in which a measured size was hidden: how many observations lay inside the interval of one new "
    "run. With few backtests the share is coarse.",
    sql=SQL,
    draw=draw,
    missing="No backtest is stored: run astraios fit-scaling (three sizes or more).",
)
