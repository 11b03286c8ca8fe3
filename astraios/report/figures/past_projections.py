"""Projections that were made before their size was measured, beside what was then measured."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.marks import interval, tips, with_sizes

SQL = """\
with measured as (
    select l.origin, l.ladder, l.dataset_id, l.method_id, l.n_params, avg(l.loss_nats) as observed,
        min(a.finished_at) as measured_at, count(*) as n_seeds
    from final_loss l
    join latest_attempt a using (run_id)
    where l.split = 'test'
    group by l.origin, l.ladder, l.dataset_id, l.method_id, l.n_params
)
select s.origin, s.ladder, s.dataset_id, p.method_id, coalesce(t.title, p.method_id) as method, p.n_params, p.mean,
    p.new_low, p.new_high, p.level, m.observed, m.n_seeds,
    abs(p.mean - m.observed) / m.observed as relative_error, m.observed between p.new_low and p.new_high as covered,
    f.created_at::varchar as projected_at, m.measured_at::varchar as measured_at, p.fit_id
from projection p
join fit f using (fit_id)
join fit_study s using (fit_id)
join measured m
    on m.origin = s.origin and m.ladder is not distinct from s.ladder and m.method_id = p.method_id
    and m.dataset_id is not distinct from s.dataset_id and m.n_params = p.n_params
left join tuning_method t on t.method_id = p.method_id
where p.role = 'target' and p.quantity = 'loss' and coalesce(f.split, 'test') = 'test' and f.created_at < m.measured_at
qualify row_number() over (
    partition by s.origin, s.ladder, s.dataset_id, p.method_id, p.n_params order by f.created_at desc) = 1
order by p.n_params, m.observed"""


def draw(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """One row for each projection: its interval and mean, and the observation."""
    frame = with_sizes(frame).with_columns(name=pl.format("{} at {}", "method", pl.col("size")))
    shown = tips(
        "level", "relative_error", "n_seeds", "fit_id", **interval(".4f", "new_low", "new_high"),
        mean=("projected, nats", ".4f"), observed=("then measured, nats", ".4f"), projected_at=("projected", ""),
        measured_at=("measured", ""),
    )  # fmt: skip
    scale = alt.Scale(zero=False, nice=False, padding=12)
    title = "test loss, nats per token"
    base = alt.Chart(frame).encode(
        y=alt.Y("name:N", sort=frame["name"].to_list(), title=None, axis=alt.Axis(labelFontSize=13, grid=True)),
        tooltip=shown,
    )
    bar = base.mark_rule(strokeWidth=3, opacity=0.5).encode(
        x=alt.X("new_low:Q", scale=scale, title=title), x2="new_high:Q"
    )
    which = alt.Scale(domain=["then measured", "projected"], range="ordinal")
    points = (
        base.transform_fold(["observed", "mean"], as_=["key", "loss"])
        .transform_calculate(what="datum.key == 'mean' ? 'projected' : 'then measured'")
        .mark_point(size=80)
        .encode(
            x=alt.X("loss:Q", scale=scale, title=title),
            color=alt.Color("what:N", title=None, scale=which),
            shape=alt.Shape("what:N", title=None, scale=alt.Scale(domain=which.domain, range=["circle", "diamond"])),
        )
    )
    return alt.layer(bar, points).properties(height=alt.Step(32), width=480)


FIGURE = Figure(
    name="past-projections",
    title="Past projections and what came of them",
    section="trust",
    order=20,
    caption="Projections that were stored before the first run of their size had finished; bars hold one new run.",
    sql=SQL,
    draw=draw,
    missing="No size that was projected has been measured since: run astraios fit-scaling --target SIZE, then astraios "
    "collect with that size.",
)
