-- No row of loss_point stands twice.
select run_id, attempt, split, step, count(*) as n from loss_point group by all having count(*) > 1
