create or replace view budget_line as
select a.*, s.origin, s.ladder, s.dataset_id
from allocation a
left join study s using (study_key)
where a.asked = 'budgets' and (a.fit_id is null or a.fit_id not in (select fit_id from void_fit));
comment on view budget_line is 'For each series of a study the best size and data along a row of budgets, as the newest fit-scaling has them.';
comment on column budget_line.origin is 'As in study.';
comment on column budget_line.ladder is 'As in study.';
comment on column budget_line.dataset_id is 'As in study.';
