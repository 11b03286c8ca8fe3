create or replace view mean_task_score as
with scored as (
    select f.*, c.name as composite, c.study is not null as is_own, c.weight
    from final_score f
    join composite c
        on c.task_id = f.task_id
        and case when c.metric is null then f.is_main_metric else f.metric = c.metric end
        and (starts_with(f.study_key || ':', c.study || ':') or (c.study is null and not exists (
            select 1 from composite o where o.name = c.name and starts_with(f.study_key || ':', o.study || ':'))))
    where f.higher_is_better and f.is_main_n_shot and f.value is not null
        and f.run_id not in (select run_id from outranked_run)
),
by_task as (
    select composite, is_own, study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params,
        any_value(n_trainable) as n_trainable, task_id, metric, weight, favg(value) as value,
        count(distinct seed) as n_seeds
    from scored
    group by all
)
select
    study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params, any_value(n_trainable) as n_trainable,
    any_value(n_trainable) / n_params as trainable_share,
    fsum(weight * value) / fsum(weight) as mean_score, count(*) as n_tasks, max(n_seeds) as n_seeds,
    list({'task_id': task_id, 'metric': metric, 'weight': weight} order by task_id, metric) as tasks,
    composite, first_value(composite) over (
        partition by study_key
        order by composite in ('astraios', 'tiny'), is_own desc, composite) = composite as is_main
from by_task
group by composite, is_own, study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params;
comment on view mean_task_score is 'Mean task performance (ASTRAIOS section 4): the weighted mean over the tasks of each mean of the table composite that is for the study, or for all. Charts and fits take the main one. Runs in outranked_run are left out.';
comment on column mean_task_score.composite is 'Name of the mean (table composite).';
comment on column mean_task_score.is_main is 'Whether it is the mean that charts and fits take: a user''s for the study, else a user''s for all, else the study''s built-in one, else the paper''s; of several the first by name.';
comment on column mean_task_score.mean_score is 'Weighted mean over the tasks, a fraction.';
comment on column mean_task_score.n_seeds is 'Most seeds that any of the tasks has.';
comment on column mean_task_score.n_tasks is 'Tasks that were averaged.';
comment on column mean_task_score.tasks is 'What was averaged: task_id, metric and weight, a list.';
comment on column mean_task_score.trainable_share is 'Trained parameters over all of the base model''s.';
