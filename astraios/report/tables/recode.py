"""Robustness on ReCode (the paper's table 4)."""

from astraios.report.base import Table

SQL = """\
select s.origin, s.ladder, s.dataset_id,
    case s.metric when 'robust_pass@1' then 'Robust Pass@1 (higher is better)'
        else 'Robust Change@1 (lower is better)' end as block,
    s.method_id, coalesce(t.title, s.method_id) as row,
    upper(split_part(s.task_id, '-', 2)[1]) || split_part(s.task_id, '-', 2)[2:] as head,
    s.n_params as sub_size, 100 * avg(s.value) as value, case s.metric when 'robust_pass@1' then 1 else -1 end as better
from final_score s
left join tuning_method t using (method_id)
where s.task_id like 'recode-%' and s.metric in ('robust_pass@1', 'robust_change@1')
group by s.origin, s.ladder, s.dataset_id, s.metric, s.method_id, t.title, s.task_id, s.n_params
order by block desc, head = 'Docstring', head = 'Syntax', head = 'Function', s.n_params, s.method_id"""

TABLE = Table(
    name="recode",
    number=4,
    title="Robustness on ReCode",
    section="robustness",
    order=20,
    caption="Per cent: the share of problems solved under the worst perturbation, and its distance from the score "
    "without one. Best of each column bold, second underlined.",
    sql=SQL,
    missing="No scores of ReCode are stored: run astraios score --task recode-format (and so on) on generations, or "
    "astraios import paper.",
)
