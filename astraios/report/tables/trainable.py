"""Tuning methods and their trainable parameters (the paper's table 1)."""

from astraios.report.base import Table

SQL = """\
select r.origin, m.ladder, r.dataset_id,
    -- as table 1 has it (databases of before know (IA)3 under a kind of its own)
    case t.kind when 'scaling' then 'adapter' else coalesce(t.kind, 'other') end as block, r.method_id,
    coalesce(t.title, r.method_id) as row, r.n_params as sub_size, max(r.n_trainable) as value, 0 as better
from run r
left join base_model m using (model_id)
left join tuning_method t using (method_id)
where r.n_trainable is not null
group by r.origin, m.ladder, r.dataset_id, r.method_id, t.kind, t.title, r.n_params
order by case block when 'low-rank' then 1 when 'prompt' then 2 when 'adapter' then 3 when 'full' then 9 else 5 end,
    r.n_params, r.method_id"""

TABLE = Table(
    name="trainable",
    number=1,
    title="Tuning methods and their trainable parameters",
    section="cost",
    order=15,
    caption="Trainable parameters by method and size of the base model.",
    sql=SQL,
    format="{:,.0f}",
    missing="No runs with a count of trainable parameters are stored: run astraios collect.",
)
