-- Every point along training bears the number of its attempt, and no two attempts share one.
select p.what, p.run_id, p.load_key
from (
    select distinct 'loss_point' as what, run_id, attempt, load_key from loss_point
    union all
    select distinct 'score_point', run_id, attempt, load_key from score_point
    union all
    select distinct 'metric_point', run_id, attempt, load_key from metric_point
) p
left join attempt a using (run_id, attempt)
where p.load_key is distinct from a.load_key
union all
select 'attempt', min(run_id), load_key from attempt where load_key is not null
group by load_key having count(*) > 1
