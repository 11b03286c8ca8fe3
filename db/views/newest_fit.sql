create or replace view newest_fit as
select s.study_key, f.fit_id, f.created_at, f.split, f.data_sql, f.query_hash, f.axes, s.before_studies
from fit f
join fit_study s using (fit_id)
where f.role = 'target'
qualify row_number() over (partition by s.study_key order by f.created_at desc, f.fit_id) = 1;
comment on view newest_fit is 'The newest analysis of each study: one of its fits, with the query that selected its runs and the hash of what that gave.';
comment on column newest_fit.before_studies is 'Whether it was made before studies existed.';
