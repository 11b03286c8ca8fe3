"""Methods that fail to scale, at each learning rate that was tried (the paper's figures 10 and 11, appendix F)."""

from __future__ import annotations

import altair as alt
import polars as pl

from astraios.report.base import Figure
from astraios.report.figures.loss_curve import draw as draw_curve
from astraios.report.marks import lines, size_axis, tips, with_sizes

SHOWN = """\
tried as (
    select series, count(distinct learning_rate) as rates
    from (select series, learning_rate from {view})
    group by series
),
failing as (
    select method_id
    from method_size_grid
    where split = 'test'
    group by method_id, origin, dataset_id
    having count(*) > 1 and max_by(loss_nats, n_params) > min_by(loss_nats, n_params)
)"""
"""Rates of each series, and methods that end higher at their largest size than at their smallest."""

NAMED = """\
    v.series || case when rates > 1 then ' ' || printf('%g', v.learning_rate) else '' end as method_id,
    coalesce(t.title, v.series) || case when rates > 1 then ' at ' || printf('%g', v.learning_rate) else '' end
        as method"""

LOSS = f"""\
with {SHOWN.format(view="rate_loss")}
select v.origin, v.ladder, v.dataset_id,
{NAMED},
    v.n_params, v.learning_rate, v.loss_nats, v.loss_sd, v.n_seeds, v.regularizer
from rate_loss v
join tried using (series)
left join tuning_method t on t.method_id = v.series
where v.split = 'test' and (
    v.method_id in ('prompt', 'adalora') or rates > 1 or v.method_id in (select method_id from failing))
qualify v.n_tokens is not distinct from max(v.n_tokens) over (partition by v.series, v.n_params)
order by v.series, v.learning_rate, v.n_params"""

CURVE = f"""\
with {SHOWN.format(view="rate_curve")},
numbered as (
    select v.*, rates, t.title,
        row_number() over (partition by v.series, v.learning_rate, v.n_params, v.n_tokens order by v.step) - 1 as i,
        count(*) over (partition by v.series, v.learning_rate, v.n_params, v.n_tokens) as n
    from rate_curve v
    join tried using (series)
    left join tuning_method t on t.method_id = v.series
    where v.split = 'test' and (
        v.method_id in ('prompt', 'adalora') or rates > 1 or v.method_id in (select method_id from failing))
    qualify v.n_tokens is not distinct from max(v.n_tokens) over (partition by v.series, v.n_params)
)
-- at most about 40 evaluations of each curve, always with the first and the last
select v.origin, v.ladder, v.dataset_id,
{NAMED.replace("t.title", "v.title")},
    v.n_params, v.learning_rate, v.step, v.loss_nats, v.n_seeds
from numbered v
where v.n > 1 and (v.i % greatest(1, v.n // 40) = 0 or v.i = v.n - 1)
order by v.n_params, v.series, v.learning_rate, v.step"""

CAPTION = (
    "Prompt Tuning, AdaLoRA, whatever was trained at several learning rates, and any method whose final test loss is "
    "higher at the largest size than at the smallest. A line for each rate; a method that gets worse with size at one "
    "rate and better at another was not tuned, not unable. Of several amounts of data the most. Cross-entropy alone: "
    "AdaLoRA's regularizer is not in it."
)
MISSING = (
    "No method fails to scale here, and neither Prompt Tuning nor AdaLoRA was run: run astraios collect "
    "learning_rate_tiny (or learning_rate, on GPUs)."
)


def draw_loss(frame: pl.DataFrame) -> alt.TopLevelMixin:
    """Lines over size, one for each method and rate."""
    shown = tips("loss_nats", "loss_sd", "n_seeds", regularizer=("regularizer at the end, nats", ".4f"))
    return lines(with_sizes(frame), size_axis(frame), "loss_nats", "test loss, nats per token", tooltip=shown)


FAILURE_CURVE = Figure(
    name="failure-curve",
    number=10,
    title="Methods that fail to scale: test loss over training",
    section="loss",
    order=50,
    caption=CAPTION,
    sql=CURVE,
    draw=draw_curve,
    missing=MISSING,
)

FAILURE_LOSS = Figure(
    name="failure-loss",
    number=11,
    title="Methods that fail to scale: final loss",
    section="loss",
    order=60,
    caption=CAPTION,
    sql=LOSS,
    draw=draw_loss,
    missing=MISSING,
)
