-- No row of sample_score stands twice.
select run_id, attempt, task_id, n_shot, item_id, sample, count(*) as n from sample_score group by all having count(*) > 1
