create or replace view pass_at_k as
select p.*, s.origin, s.ladder, s.dataset_id, coalesce(t.title, p.task_id) as title
from pass_curve p
left join study s using (study_key)
left join task t using (task_id);
comment on view pass_at_k is 'pass@k over k (table pass_curve), with the study that it is about.';
comment on column pass_at_k.title is 'The task as charts name it.';
