create or replace view mean_task_score as
with scored as (
    select f.*, c.name as composite, c.weight
    from final_score f
    left join (select distinct study from composite where study is not null) o on o.study = f.ladder
    join composite c
        on c.task_id = f.task_id
        and c.study is not distinct from o.study
        and case when c.metric is null then f.is_main_metric else f.metric = c.metric end
    where f.higher_is_better and f.n_shot = 0 and f.value is not null
),
by_task as (
    select composite, study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params,
        any_value(n_trainable) as n_trainable, task_id, metric, weight, favg(value) as value,
        count(distinct seed) as n_seeds
    from scored
    group by all
)
select
    study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params, any_value(n_trainable) as n_trainable,
    any_value(n_trainable) / n_params as trainable_share,
    fsum(weight * value) / fsum(weight) as mean_score, count(*) as n_tasks, max(n_seeds) as n_seeds
from by_task
group by composite, study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params;
comment on view mean_task_score is 'Mean task performance (ASTRAIOS section 4): the weighted mean over the tasks of the table composite, the study''s own or else the one for all.';
comment on column mean_task_score.mean_score is 'Weighted mean over the tasks, a fraction.';
comment on column mean_task_score.n_seeds is 'Most seeds that any of the tasks has.';
comment on column mean_task_score.n_tasks is 'Tasks that were averaged.';
comment on column mean_task_score.trainable_share is 'Trained parameters over all of the base model''s.';
