-- No row of loss_summary stands twice.
select run_id, attempt, split, count(*) as n from loss_summary group by all having count(*) > 1
