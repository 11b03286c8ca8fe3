create or replace view fit_study as
select p.fit_id, min(r.origin) as origin, min(m.ladder) as ladder, min(r.dataset_id) as dataset_id
from fit_point p
join run r using (run_id)
left join base_model m using (model_id)
group by p.fit_id;
comment on view fit_study is 'The study (origin, ladder, data set) whose runs a fit used.';
