create or replace view task_quality as
select q.*, s.origin, s.ladder, s.dataset_id, coalesce(t.title, q.task_id) as title
from benchmark_quality q
left join study s using (study_key)
left join task t using (task_id);
comment on view task_quality is 'What each task and metric can decide (table benchmark_quality), with the study that it is about.';
comment on column task_quality.title is 'The task as charts name it.';
