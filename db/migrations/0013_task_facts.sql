-- What guessing scores: where a task's chance level comes from, and what people say goes before what sources say.

alter table task add column chance_from varchar;
comment on column task.chance_from is 'Where the chance level comes from: samples (choices and right answers of its items) or benchmark (the registry of common tasks); null where the task or the source says it, or nobody.';

create table task_fact (
    task_id varchar not null,
    metric varchar,
    chance double,
    ceiling double,
    created_at timestamp not null
);
comment on table task_fact is 'What people say about tasks (astraios task): it goes before what sources say.';
comment on column task_fact.task_id is 'The task.';
comment on column task_fact.metric is 'The metric; null for all of the task''s of which more is better.';
comment on column task_fact.chance is 'Score of guessing, in the metric''s unit; null where that was not said.';
comment on column task_fact.ceiling is 'Best possible score; null where that was not said.';
comment on column task_fact.created_at is 'When, UTC.';
