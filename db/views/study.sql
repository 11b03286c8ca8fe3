create or replace view study as
select r.origin, m.ladder, r.dataset_id, count(*) as n_runs, count(distinct r.method_id) as n_methods,
    count(distinct r.n_params) as n_sizes, max(a.finished_at) as finished_at
from run r
join latest_attempt a using (run_id)
left join base_model m using (model_id)
group by all;
comment on view study is 'Runs that can be compared: one ladder, one data set, one origin. The report draws each apart.';
comment on column study.n_methods is 'Tuning methods.';
comment on column study.n_runs is 'Runs.';
comment on column study.n_sizes is 'Sizes of base models.';
