"""A law of size and data, as a line over size for each amount of data, through the points that it was fitted to."""

from __future__ import annotations

import altair as alt
import numpy as np
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, log_ticks, panels, size_axis, tips, with_sizes
from astraios.report.theme import size_label

SQL = """\
with shown as (
    select origin, ladder, dataset_id, method_id, 'measured' as source, n_params, n_tokens, observed as loss, run_id,
        fit_id, split
    from latest_fit_point
    union all by name
    select origin, ladder, dataset_id, method_id, 'law' as source, n_params, n_tokens, mean as loss, low, high, new_low,
        new_high, level, fit_id, split
    from latest_curve
    union all by name
    select origin, ladder, dataset_id, method_id, 'projected' as source, n_params, n_tokens, mean as loss, low, high,
        new_low, new_high, level, fit_id, split
    from latest_projection
    where quantity = 'loss' and role = 'target' and fit_id in (select fit_id from latest_curve)
)
select origin, ladder, dataset_id, method_id, coalesce(t.title, method_id) as method, source, n_params, n_tokens, loss,
    low, high, new_low, new_high, level, run_id, fit_id
from shown
left join tuning_method t using (method_id)
where coalesce(split, 'test') = 'test' and n_tokens is not null and loss is not null
    and (select count(n_tokens) from latest_curve) > 0
order by method_id, source, n_tokens, n_params"""
SAME = 0.02
"""Share by which a point's amount of data may differ from its line's."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A panel for each series: lines and points of one shade for each amount of data, ribbons at the targets'."""
    frame, order = _shaded(with_sizes(frame))
    seen = frame.filter(pl.col("source") != "law")
    ends = _ends(seen)
    scale = alt.Scale(type="log", domain=list(ends), nice=False)
    y = alt.Y("loss:Q", title="test loss, nats per token", scale=scale,
              axis=alt.Axis(values=log_ticks(ends), format="~g"))  # fmt: skip
    strengths = [0.3 + 0.7 * (i + 1) / len(order) for i in range(len(order))]
    shade = alt.Opacity("amount:O", scale=alt.Scale(domain=order, range=strengths),
                        legend=alt.Legend(title="tokens", orient="bottom"))  # fmt: skip
    base = alt.Chart(frame).encode(x=size_axis(seen, title="parameters"))
    law = base.transform_filter("datum.source == 'law'")
    target = law.transform_filter("datum.at_target")
    wide = target.mark_area(opacity=0.1, clip=True).encode(
        y=alt.Y("new_low:Q", scale=scale), y2="new_high:Q", detail="amount:N"
    )
    narrow = target.mark_area(opacity=0.2, clip=True).encode(
        y=alt.Y("low:Q", scale=scale), y2="high:Q", detail="amount:N"
    )
    lines = law.mark_line(strokeWidth=1.5, clip=True).encode(y=y, opacity=shade, detail="amount:N")
    shown = tips("source", "loss", "level", "fit_id", tokens=("tokens", ""), run_id=("run", ""), **interval(".4f"))
    dots = [
        base.transform_filter(f"datum.source == '{name}'")
        .mark_point(size=size, shape=mark)
        .encode(y=y, opacity=shade, tooltip=shown)
        for name, mark, size in (("measured", "circle", 34), ("projected", "square", 60))
    ]
    chart = alt.layer(wide, narrow, lines, *dots).properties(height=260)
    if frame["method"].n_unique() == 1:
        return chart.properties(width=480)
    return panels(chart, "method", None, 2, frame)


def _shaded(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """The frame with the amount of data of each row's line (the nearest) in words, and these from the least."""
    levels = frame.filter(pl.col("source") == "law")["n_tokens"].unique().sort()
    targets = frame.filter(pl.col("source") == "projected")["n_tokens"].log().unique().to_numpy()
    logs = np.log(levels.to_numpy())
    nearest = np.abs(np.log(frame["n_tokens"].to_numpy())[:, None] - logs).argmin(1)
    words = [size_label(level) for level in levels]
    at_target = [bool((np.abs(targets - level) < SAME).any()) for level in logs]
    return frame.with_columns(
        amount=pl.Series([words[i] for i in nearest]),
        at_target=pl.Series([at_target[i] for i in nearest]),
        tokens=pl.col("n_tokens").map_elements(size_label, return_dtype=pl.String),
    ), words


def _ends(seen: pl.DataFrame) -> tuple[float, float]:
    """Ends of the axis: the points, with the intervals of those that are projected."""
    bounds = pl.concat([seen["loss"], seen["new_low"], seen["new_high"]]).drop_nulls()
    low, high = float(bounds.min()), float(bounds.max())  # type: ignore[arg-type]
    room = 0.05 * max(np.log(high / low), 0.01)
    return low * float(np.exp(-room)), high * float(np.exp(room))


FIGURE = Figure(
    name="projection-data",
    title="The law at each amount of data",
    section="projection",
    order=21,
    caption="Both axes are logarithmic. Each line is the fitted law at one amount of data, the stronger the more; a "
    "point has the shade of the line whose amount is nearest to its own. Squares: the targets, whose line has ribbons "
    "for its mean and for a new run.",
    sql=SQL,
    draw=draw,
    missing="No law of size and data is fitted: run astraios fit-scaling on runs of several sizes with several amounts "
    "of data each.",
)
