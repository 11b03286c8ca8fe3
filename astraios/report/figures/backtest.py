"""The backtest: the hidden largest size, predicted from the smaller ones, against what was observed."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, tips, with_sizes

SQL = """\
select b.origin, b.ladder, b.dataset_id, b.method_id, coalesce(t.title, b.method_id) as method, b.n_params, b.law,
    b.mean, b.new_low, b.new_high, b.level, b.observed, b.relative_error, b.covered, b.carry_forward,
    b.carry_forward_error, b.n_train_points, b.fit_id
from latest_backtest b
left join tuning_method t using (method_id)
where b.quantity = 'loss' and coalesce(b.split, 'test') = 'test' and b.observed is not null
qualify b.n_params = max(b.n_params) over (partition by b.origin, b.ladder, b.dataset_id, b.method_id)
order by b.observed"""
MARKS = ["observed", "predicted", "carried forward"]


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One row for each method: the interval of a new run, the prediction, the observation, the baseline."""
    frame = with_sizes(frame).with_columns(
        inside=pl.when("covered").then(pl.lit("inside its interval")).otherwise(pl.lit("OUTSIDE its interval"))
    )
    numbers = {"observed": ("observed, nats", ".4f"), "mean": ("predicted, nats", ".4f")}
    shown = tips("level", "relative_error", "carry_forward_error", "law", "fit_id", **numbers,
                 **interval(".4f", "new_low", "new_high"), inside=("observation", ""))  # fmt: skip
    y = alt.Y("method:N", sort=frame["method"].to_list(), title=None,
              axis=alt.Axis(labelFontSize=13, labelPadding=8, grid=True))  # fmt: skip
    scale = alt.Scale(zero=False, nice=False, padding=12)
    title = "test loss, nats per token, at the hidden size"
    base = alt.Chart(frame).encode(y=y)
    bar = base.mark_rule(strokeWidth=3, opacity=0.5).encode(
        x=alt.X("new_low:Q", scale=scale, title=title, axis=alt.Axis(tickCount=7)), x2="new_high:Q", tooltip=shown
    )
    points = (
        base.transform_fold(["observed", "mean", "carry_forward"], as_=["which", "loss"])
        .transform_calculate(
            what="datum.which == 'mean' ? 'predicted' : datum.which == 'observed' ? 'observed' : 'carried forward'"
        )
        .mark_point(size=80)
        .encode(
            x=alt.X("loss:Q", scale=scale, title=title),
            color=alt.Color("what:N", title=None, scale=alt.Scale(domain=MARKS, range="ordinal")),
            shape=alt.Shape("what:N", title=None, scale=alt.Scale(domain=MARKS, range=["circle", "diamond", "cross"])),
            tooltip=shown,
        )
    )
    return alt.layer(bar, points).properties(height=alt.Step(36), width=480)


FIGURE = Figure(
    name="backtest",
    title="Backtest: the largest size, hidden and predicted",
    section="projection",
    order=30,
    caption="Bars are the intervals of one new run. Carrying forward, the baseline, repeats the loss of the largest "
    "size that was not hidden.",
    sql=SQL,
    draw=draw,
    missing="No backtest is stored: run astraios fit-scaling (three sizes or more).",
)
