-- No row of score stands twice.
select run_id, attempt, task_id, n_shot, metric, count(*) as n from score group by all having count(*) > 1
