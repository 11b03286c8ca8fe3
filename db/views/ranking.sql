create or replace view ranking as
with target as (
    select *, max(n_params) over (partition by study_key, quantity, task_id, metric) as largest
    from latest_projection
    where role = 'target' and p_best is not null and coalesce(split, 'test') = 'test'
),
placed as (
    select *,
        row_number() over (
            partition by study_key, quantity, task_id, metric, n_params
            order by p_best desc, case quantity when 'loss' then mean else -mean end) as place
    from target
),
summed as (
    select *,
        sum(p_best) over (
            partition by study_key, quantity, task_id, metric, n_params order by place) as p_so_far
    from placed
)
select
    study_key, origin, ladder, dataset_id, quantity, task_id, metric, method_id, n_params, mean, low, high, new_low, new_high,
    level, p_best, fit_id, n_params = largest as is_target, place, p_so_far - p_best < level as may_be_best
from summed;
comment on view ranking is 'Methods by their probability of being the best at each projected size. may_be_best: the smallest set that holds the best with the fit''s level; one method alone is a winner, several can not be told apart.';
comment on column ranking.is_target is 'Whether this is the largest size of its fit.';
comment on column ranking.may_be_best is 'Whether the method is in the smallest set that holds the best with the fit''s level.';
comment on column ranking.place is 'Place by probability of being the best.';
