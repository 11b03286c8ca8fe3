-- A metric has a direction of its own, and a mean score is over tasks that somebody chose.

alter table task add column lower_is_better json;
comment on column task.lower_is_better is 'Names of the metrics of which less is better, a list; null where only the main metric''s direction is known.';

-- The published tables described this task by their own main metric, so that `valid` pointed the wrong way.
update task set
    title = 'Asleep at the Keyboard', kind = 'security', metric = 'valid', chance = null, ceiling = 1.0,
    higher_is_better = true, lower_is_better = '["insecure", "insecure_fallback", "insecure_sarif"]',
    citation = 'Pearce et al., 2022, Asleep at the Keyboard; ASTRAIOS table 5'
where task_id = 'aatk' and metric = 'insecure';

create table composite (
    name varchar not null,
    task_id varchar not null,
    metric varchar,
    weight double not null,
    study varchar
);
comment on table composite is 'Mean scores: what each is the weighted mean of.';
comment on column composite.name is 'Name of the mean.';
comment on column composite.task_id is 'A task in it.';
comment on column composite.metric is 'The metric of the task; null for its main one.';
comment on column composite.weight is 'Its weight; only the proportions count.';
comment on column composite.study is 'The study that it is for, by its ladder; null for all that have none of their own.';

insert into composite by name
select 'astraios' as name, unnest([
    'devign', 'bigclonebench',
    'humanevalsynthesize-python', 'humanevalfix-python', 'humanevalexplain-python',
    'humanevalsynthesize-java', 'humanevalfix-java', 'humanevalexplain-java']) as task_id, 1.0 as weight;
insert into composite by name
select 'tiny' as name, unnest(['next-token', 'mutant', 'line-order']) as task_id, 1.0 as weight, 'tiny' as study;
