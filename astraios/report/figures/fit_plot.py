"""A fitted law over size, with the data that it was fitted to: what `FitResult.plot()` shows."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np
import polars as pl

from astraios.report.marks import log_ticks, size_axis, span
from astraios.report.theme import SCHEMES, config

CURVE, DOTS = SCHEMES["light"]["accent"], SCHEMES["light"]["ink"]
REACH = 4.0
"""The curve goes on to this multiple of the largest size in the data."""


def draw(result: Any, reach: float = REACH, points: int = 60) -> alt.TopLevelMixin:
    """The law with both intervals: dark for the mean, light for one new run.

    Args:
        result: has `.data` (a Polars frame with n_params and loss) and `.predict(n_params=[...])`, which gives
            n_params, mean, low, high, new_low, new_high.
        reach: how far the curve goes, as a multiple of the largest size.
        points: sizes at which the law is evaluated.
    """
    data: pl.DataFrame = result.data
    low, high = float(data["n_params"].min()), float(data["n_params"].max())  # type: ignore[arg-type]
    curve: pl.DataFrame = result.predict(n_params=np.geomspace(low, high * reach, points).tolist())
    bounds = pl.concat([data["loss"].cast(pl.Float64), curve["new_low"], curve["new_high"]])
    ends = span(bounds.filter(bounds.is_finite()).to_list())
    scale = alt.Scale(domain=list(ends), nice=False)
    y = alt.Y("mean:Q", title="loss, nats per token", scale=scale)
    x = size_axis(curve, title="parameters")
    x = x.axis(values=log_ticks([low, high * reach]), labelExpr="replace(format(datum.value, '.3~s'), 'G', 'B')")
    base = alt.Chart(curve).encode(x=x)
    new = base.mark_area(opacity=0.13, clip=True, color=CURVE).encode(
        y=alt.Y("new_low:Q", scale=scale), y2="new_high:Q"
    )
    mean = base.mark_area(opacity=0.25, clip=True, color=CURVE).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line(color=CURVE).encode(y=y)
    columns = data.select(pl.col("n_params").cast(pl.Float64), pl.col("loss").cast(pl.Float64))
    dots = alt.Chart(columns).mark_point(color=DOTS).encode(
        x=x, y=alt.Y("loss:Q"),
        tooltip=[alt.Tooltip("n_params:Q", title="parameters", format=",.0f"),
                 alt.Tooltip("loss:Q", title="loss, nats", format=".4f")],
    )  # fmt: skip
    chart = alt.layer(new, mean, line, dots).properties(width=480, height=300)
    return chart.configure(**config("light"))
