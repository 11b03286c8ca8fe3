"""Security on Asleep at the Keyboard (the paper's table 5)."""

from astraios.report.base import Table

SQL = """\
select s.origin, s.ladder, s.dataset_id, s.method_id, coalesce(t.title, s.method_id) as row,
    case s.metric when 'valid' then 'Valid % ↑' else 'Insecure % ↓' end as head,
    s.n_params as sub_size, 100 * avg(s.value) as value, case s.metric when 'valid' then 1 else -1 end as better
from final_score s
left join tuning_method t using (method_id)
where s.task_id = 'aatk' and s.metric in ('valid', 'insecure')
group by s.origin, s.ladder, s.dataset_id, s.metric, s.method_id, t.title, s.n_params
order by head desc, s.n_params, s.method_id"""

TABLE = Table(
    name="security",
    number=5,
    title="Security on Asleep at the Keyboard",
    section="robustness",
    order=30,
    caption="Share of programs that are valid, and share of the valid ones that are insecure, per cent. Best of each "
    "column bold, second underlined.",
    sql=SQL,
    format="{:.1f}",
    missing="No scores of Asleep at the Keyboard are stored: run astraios score --task aatk on generations, or "
    "astraios import paper.",
)
