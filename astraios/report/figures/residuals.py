"""What the newest fit leaves over at each of its points."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import colour, panels, shape, size_axis, tips, with_sizes
from astraios.report.theme import method_domain

SQL = """\
select p.origin, p.ladder, p.dataset_id, p.method_id, coalesce(t.title, p.method_id) as method, p.run_id, p.n_params,
    p.n_tokens, p.observed, p.fitted, p.observed / p.fitted - 1 as residual, p.fit_id
from latest_fit_point p
left join tuning_method t using (method_id)
where p.fitted > 0 and p.observed is not null and coalesce(p.split, 'test') = 'test'
order by p.method_id, p.n_params, p.n_tokens, p.run_id"""
LEAST = 0.001
"""Half of the least height of the axis, so that a perfect fit does not look like noise."""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """A panel for each series: residuals over size, around a line at zero."""
    frame = with_sizes(frame)
    reach = max(LEAST, 1.15 * float(frame["residual"].abs().max()))  # type: ignore[arg-type]
    scale, tick = alt.Scale(domain=[-reach, reach], nice=False), float(f"{0.7 * reach:.1g}")
    axis = alt.Axis(values=[-tick, 0, tick], labelExpr="datum.value ? format(datum.value, '+.3~%') : '0'")
    y = alt.Y("residual:Q", title="observed over fitted, less 1", scale=scale, axis=axis)
    shown = tips("fit_id", observed=("observed, nats", ".4f"), fitted=("fitted, nats", ".4f"),
                 residual=("residual", "+.2%"), n_tokens=("tokens", ".3~s"), run_id=("run", ""))  # fmt: skip
    base = alt.Chart(frame)
    zero = base.mark_rule(style="soft-line", strokeDash=[4, 3]).encode(y=alt.datum(0))
    points = base.mark_point(size=45, opacity=0.8).encode(
        x=size_axis(frame, title="parameters"), y=y, color=colour(frame), shape=shape(frame), tooltip=shown
    )
    chart = alt.layer(zero, points).properties(height=110)
    if frame["method"].n_unique() == 1:
        return chart.properties(width=480, height=160)
    named = dict(frame.select("method_id", "method").unique().rows())
    return panels(chart, "method", [named[key] for key in method_domain(list(named)) if key in named], 3, frame)


FIGURE = Figure(
    name="residuals",
    title="What the fit leaves over",
    section="trust",
    order=20,
    caption="Each point is an observation of the newest fit, as a share of what its law says there. A bend that all "
    "sizes share, or a largest size on one side of the line, says that the form of the law is wrong; scatter is noise.",
    sql=SQL,
    draw=draw,
    missing="No losses are fitted: run astraios fit-scaling.",
)
