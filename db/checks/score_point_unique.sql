-- No score along training stands twice.
select run_id, attempt, task_id, metric, step, count(*) as n from score_point group by all having count(*) > 1
