create or replace view fit_study as
with used as (
    select p.fit_id, string_agg(distinct s.study_key, ',' order by s.study_key) as study_key, min(s.origin) as origin,
        min(s.ladder) as ladder, min(s.dataset_id) as dataset_id
    from fit_point p
    join run_study s using (run_id)
    group by p.fit_id
)
select f.fit_id, coalesce(f.study_key, u.study_key) as study_key, f.study_key is null as before_studies, u.origin, u.ladder,
    u.dataset_id
from fit f
left join used u using (fit_id)
where f.study_key is not null or u.fit_id is not null;
comment on view fit_study is 'The study whose runs a fit used; several keys with commas where studies were joined, or where a fit of before studies existed mixed them.';
comment on column fit_study.before_studies is 'Whether the fit was made before studies existed; its study is then told by its runs.';
comment on column fit_study.study_key is 'As in the view study.';
