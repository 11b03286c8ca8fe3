-- Printed scores that the released generations contradict: both values, per cent.
select t.title as method, c.model_id as model, c.task_id as task, printf('%.2f', 100 * c.printed) as printed,
    printf('%.2f', 100 * c.rescored) as rescored, c.reason
from contradicted_score c
join tuning_method t using (method_id)
order by c.n_params, c.task_id, c.method_id;
