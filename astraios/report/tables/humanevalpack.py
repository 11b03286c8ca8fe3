"""Pass@1 on HumanEvalPack (the paper's table 3)."""

from astraios.report.base import Table

SQL = """\
with cell as (
    select origin, ladder, dataset_id, method_id, task_id, n_params,
        avg(value) filter (where metric = 'pass@1') as value,
        avg(value) filter (where metric = 'pass@1 (released)') as released
    from final_score
    where task_id like 'humaneval%' and n_shot = 0
    group by all
)
select c.origin, c.ladder, c.dataset_id,
    case when c.task_id like '%-python' then 'Python' when c.task_id like '%-java' then 'Java'
        else split_part(c.task_id, '-', 2) end as block,
    c.method_id, coalesce(t.title, c.method_id) as row,
    case when c.task_id like '%synth%' then 'Code synthesis' when c.task_id like '%fix%' then 'Code repair'
        else 'Code explanation' end as head,
    c.n_params as sub_size, 100 * c.value as value, 1 as better,
    'contradicted by the generations that the authors released, which give ' || printf('%.2f', 100 * c.released)
        || ' (' || coalesce(t.title, c.method_id) || ', ' || c.task_id || ')' as note
from cell c
left join tuning_method t using (method_id)
where c.value is not null
order by block desc, head = 'Code explanation', head = 'Code repair', c.n_params, c.method_id"""

TABLE = Table(
    name="humanevalpack",
    number=3,
    title="Pass@1 on HumanEvalPack",
    section="score",
    order=61,
    caption="Pass@1, per cent, mean over seeds. Best of each column bold, second underlined.",
    sql=SQL,
    missing="No scores of HumanEvalPack are stored: run astraios score --task humanevalfix-python (and so on) on "
    "generations, or astraios import paper.",
)
