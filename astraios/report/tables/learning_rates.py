"""Which learning rate wins at each size (the paper's appendix F)."""

from astraios.report.base import Table

SQL = """\
with tried as (
    select v.*, coalesce(t.title, v.series) as title,
        max(v.n_rates) over (partition by v.series) as most
    from rate_loss v
    left join tuning_method t on t.method_id = v.series
    where v.split = 'test'
    qualify v.n_tokens is not distinct from max(v.n_tokens) over (partition by v.series, v.n_params)
),
long as (
    select *, unnest(['Final test loss, nats', 'Regularizer at the end, nats']) as head
    from tried
    where most > 1
)
select origin, ladder, dataset_id, title as block, printf('%g', learning_rate) as row, head, n_params as sub_size,
    case head when 'Final test loss, nats' then loss_nats else regularizer end as value,
    case head when 'Final test loss, nats' then -1 else 0 end as better
from long
where head = 'Final test loss, nats' or regularizer is not null
order by title, head, learning_rate, n_params"""

TABLE = Table(
    name="learning-rates",
    title="Which learning rate wins at each size",
    section="loss",
    order=65,
    caption="Final test loss of each rate, mean over seeds; the best rate of each size bold, the second underlined. "
    "The paper's default is 1e-4. Losses are cross-entropy alone; what a method adds to its training loss (AdaLoRA's "
    "orthogonality) stands beside it.",
    sql=SQL,
    corner="Learning rate",
    format="{:.3f}",
    missing="No method was trained at several learning rates: run astraios collect learning_rate_tiny, or give a list "
    "as learning_rate in a sweep of your own.",
)
