-- No metric of a step stands twice.
select run_id, attempt, name, step, count(*) as n from metric_point group by all having count(*) > 1
