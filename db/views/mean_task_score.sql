create or replace view mean_task_score as
with main as (
    select *
    from final_score
    where is_main_metric and higher_is_better and n_shot = 0 and value is not null
),
by_task as (
    select origin, ladder, dataset_id, model_id, method_id, n_params, any_value(n_trainable) as n_trainable, task_id,
        avg(value) as value, count(distinct seed) as n_seeds
    from main
    where task_id in (
        'devign', 'bigclonebench',
        'humanevalsynthesize-python', 'humanevalfix-python', 'humanevalexplain-python',
        'humanevalsynthesize-java', 'humanevalfix-java', 'humanevalexplain-java')
        or ladder = 'tiny'
    group by all
)
select
    origin, ladder, dataset_id, model_id, method_id, n_params, any_value(n_trainable) as n_trainable,
    any_value(n_trainable) / n_params as trainable_share,
    avg(value) as mean_score, count(*) as n_tasks, max(n_seeds) as n_seeds
from by_task
group by origin, ladder, dataset_id, model_id, method_id, n_params;
comment on view mean_task_score is 'Mean task performance (ASTRAIOS section 4): the mean over the eight columns of tables 2 and 3, or over the tiny ladder''s tasks.';
comment on column mean_task_score.mean_score is 'Mean over the tasks, a fraction.';
comment on column mean_task_score.n_seeds is 'Most seeds that any of the tasks has.';
comment on column mean_task_score.n_tasks is 'Tasks that were averaged.';
comment on column mean_task_score.trainable_share is 'Trained parameters over all of the base model''s.';
