"""The projection on an axis of reducible loss: what is left above the floor that the law puts down."""

from __future__ import annotations

import textwrap

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.figures import projection_loss
from astraios.report.theme import clip

SQL = f"""\
with floored as (
    -- of the law with most weight, which shifted series have in common, times exp(delta)
    select fit_id, exp(coalesce(max(value) filter (where name = 'delta'), 0)) as shift,
        max(value) filter (where name = 'E') * shift as floor, max(low) filter (where name = 'E') * shift as floor_low,
        max(high) filter (where name = 'E') * shift as floor_high
    from fit_parameter
    group by fit_id
),
newest as (
    select distinct method_id, floor, floor_low, floor_high
    from latest_projection
    left join floored using (fit_id)
    where quantity = 'loss' and role = 'target' and coalesce(split, 'test') = 'test'
    qualify created_at is not distinct from max(created_at) over (partition by method_id)
),
projected as (
{projection_loss.SQL}
)
select p.*, n.floor, n.floor_low, n.floor_high
from projected p
join newest n using (method_id)
where exists (select 1 from projected o join newest f using (method_id) where o.source <> 'law' and o.loss > f.floor)
order by method_id, n_params, source"""
NEAREST = 0.3
"""The axis goes down to this share of the least measured loss above its floor, ..."""
DEEPEST = 300.0
"""... but no further below its upper end: where a floor all but touches a point, the rest is still to be seen."""
NARROW = 44
"""Characters of a line that a phone has room for."""
LOSSES = ("loss", "low", "high", "new_low", "new_high")


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """The panels of the projection, each over its own floor; what can't be shown on a log axis is counted."""
    none = frame.filter(pl.col("floor").is_null())["method"].unique().sort().to_list()
    frame = frame.filter(pl.col("floor").is_not_null()).with_columns(pl.col(LOSSES) - pl.col("floor"))
    points = pl.col("source") != projection_loss.LAW
    measured = frame.filter(points & (pl.col("source") == projection_loss.KINDS[0]) & (pl.col("loss") > 0))["loss"]
    low = NEAREST * float((measured if len(measured) else frame.filter(pl.col("loss") > 0)["loss"]).min())  # type: ignore[arg-type]
    high = 1.1 * float(pl.concat([frame["loss"], frame["new_high"]]).max())  # type: ignore[arg-type]
    low = max(low, high / DEEPEST)
    shown = frame.filter(pl.col("loss") > low)
    bounded = [pl.col(name).clip(lower_bound=low / 2) for name in LOSSES[1:]]
    chart = projection_loss.curves(shown.with_columns(bounded), (low, high), "test loss above the floor, nats")
    lost = frame.filter(points).height - shown.filter(points).height
    said = [f"{lost} points below the floor, or too near it for this axis, are not shown."] if lost else []
    said += [f"Without a floor in its law: {', '.join(clip(name, 30) for name in none)}."] if none else []
    lines = [line for text in said for line in textwrap.wrap(text, NARROW)]
    return chart.properties(title=lines) if lines else chart


FIGURE = Figure(
    name="projection-reducible",
    title="Projected reducible loss, and what was then measured",
    section="projection",
    order=20,
    reducible_of=projection_loss.FIGURE.name,
    caption="The projection above each series' floor, the irreducible loss of the law with most weight: a power law "
    "without its floor is a straight line here. A projection also keeps to the last known differences between series, "
    "and may leave its law for that, down to the floor. The floor is an estimate (its interval is in "
    "the data) and the ribbons are those of the loss: where one reaches the lower edge, its end lies at the "
    "floor or below it.",
    sql=SQL,
    draw=draw,
    missing="Nothing has been projected by a law with a floor: run astraios fit-scaling --target SIZE.",
)
