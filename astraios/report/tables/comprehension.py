"""Defect and clone detection (the paper's table 2)."""

from astraios.report.base import Table

SQL = """\
select s.origin, s.ladder, s.dataset_id, s.method_id, coalesce(t.title, s.method_id) as row, k.title as head,
    s.n_params as sub_size, 100 * avg(s.value) as value, 1 as better
from final_score s
join task k using (task_id)
left join tuning_method t using (method_id)
where s.task_id in ('devign', 'bigclonebench') and s.n_shot = 0 and s.is_main_metric
group by s.origin, s.ladder, s.dataset_id, s.method_id, t.title, s.task_id, k.title, s.n_params
order by s.task_id desc, s.n_params, s.method_id"""

TABLE = Table(
    name="comprehension",
    number=2,
    title="Defect detection and clone detection",
    section="score",
    order=43,
    caption="Accuracy and macro F1, per cent, mean over seeds. Best of each column bold, second underlined.",
    sql=SQL,
    missing="No scores of Devign or BigCloneBench are stored: run astraios score --task devign on generations, or "
    "astraios import paper.",
)
