create or replace view isoflop_line as
select i.*, s.origin, s.ladder, s.dataset_id
from isoflop i
left join study s using (study_key)
where i.fit_id is null or i.fit_id not in (select fit_id from void_fit);
comment on view isoflop_line is 'Projected loss against size at equal budgets, as the newest fit-scaling of each study has it.';
comment on column isoflop_line.origin is 'As in study.';
comment on column isoflop_line.ladder is 'As in study.';
comment on column isoflop_line.dataset_id is 'As in study.';
