-- Every loss and score belongs to an attempt.
select 'loss_point' as table_name, run_id, attempt from loss_point anti join attempt using (run_id, attempt)
union all
select 'score', run_id, attempt from score anti join attempt using (run_id, attempt)
union all
select 'sample_score', run_id, attempt from sample_score anti join attempt using (run_id, attempt)
union all
select 'score_point', run_id, attempt from score_point anti join attempt using (run_id, attempt)
union all
select 'metric_point', run_id, attempt from metric_point anti join attempt using (run_id, attempt)
