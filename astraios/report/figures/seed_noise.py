"""Noise between seeds beside the gaps between neighbouring methods."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import log_ticks, size_axis, tips, with_sizes

SQL = """\
with gap as (
    select origin, ladder, dataset_id, method_id, n_params, loss_nats, loss_sd, n_seeds,
        lead(loss_nats) over (partition by origin, ladder, dataset_id, n_params order by loss_nats) - loss_nats as gap
    from method_size_grid
    where split = 'test'
)
select origin, ladder, dataset_id, n_params, avg(gap) as mean_gap, min(gap) as least_gap, avg(loss_sd) as mean_sd,
    count(loss_sd) as n_methods_with_seeds, count(*) as n_methods, max(n_seeds) as n_seeds
from gap
group by origin, ladder, dataset_id, n_params
having count(loss_sd) > 0 and count(gap) > 0
order by n_params"""
NAMES = {"mean_gap": "mean gap to the next method", "least_gap": "smallest gap", "mean_sd": "SD between seeds"}


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Three lines over size on a log axis of nats."""
    frame = with_sizes(frame).with_columns(pl.lit("all").alias("method"))
    shown = tips("n_seeds", n_methods=("methods", ",d"), n_methods_with_seeds=("methods with several seeds", ",d"),
                 nats=("nats", ".4f"), what=("what", ""))  # fmt: skip
    domain = list(NAMES.values())
    name = " : ".join(f"datum.key == '{key}' ? '{title}'" for key, title in NAMES.items()) + " : ''"
    values = pl.concat([frame[key] for key in NAMES]).drop_nulls()
    ticks = log_ticks(values.filter(values > 0).to_list())
    base = (
        alt.Chart(frame)
        .transform_fold(list(NAMES), as_=["key", "nats"])
        .transform_filter("datum.nats > 0")
        .transform_calculate(what=name)
        .encode(
            x=size_axis(frame),
            y=alt.Y("nats:Q", title="test loss, nats per token (log scale)", axis=alt.Axis(format="~g", values=ticks),
                    scale=alt.Scale(type="log", nice=False, padding=12)),
            color=alt.Color("what:N", title=None, scale=alt.Scale(domain=domain, range="ordinal"),
                            legend=alt.Legend(orient="bottom")),
        )
    )  # fmt: skip
    marks = alt.Scale(domain=domain, range=["circle", "triangle-down", "cross"])
    dots = base.mark_point(size=70).encode(shape=alt.Shape("what:N", title=None, scale=marks), tooltip=shown[1:])
    return alt.layer(base.mark_line(), dots).properties(height=240, width=480)


FIGURE = Figure(
    name="seed-noise",
    title="Noise between seeds against gaps between methods",
    section="trust",
    order=30,
    caption="Where the standard deviation between seeds is as large as a gap, that pair of methods can't be put in "
    "order by one run each.",
    sql=SQL,
    draw=draw,
    missing="No method was run with two seeds at the same size: run astraios collect with more seeds.",
)
