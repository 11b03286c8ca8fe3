create or replace view study as
with counted as (
    select s.study_key, s.base, s.eval_split, s.origin, any_value(s.ladder) as ladder,
        case when count(distinct coalesce(s.dataset_id, '-')) = 1 then any_value(s.dataset_id) end as dataset_id,
        count(distinct coalesce(s.dataset_id, '-')) as n_datasets,
        count(*) as n_runs, count(distinct r.method_id) as n_methods, count(distinct r.n_params) as n_sizes,
        max(a.finished_at) as finished_at
    from run_study s
    join run r using (run_id)
    join latest_attempt a using (run_id)
    group by s.study_key, s.base, s.eval_split, s.origin
),
told_apart as (
    select *,
        count(distinct eval_split) over (partition by base) > 1 as by_split,
        count(*) over (partition by base, eval_split) > 1 as by_origin
    from counted
)
select concat_ws(':', base, case when by_split then coalesce(dataset_id, eval_split) end, case when by_origin then origin end)
        as study,
    study_key, origin, ladder, dataset_id, n_datasets, n_runs, n_methods, n_sizes, finished_at
from told_apart;
comment on view study is 'Runs that can be compared: one ladder (else one family of bases), one evaluation split, one origin. Every command works on one of them, or on several that were joined on purpose.';
comment on column study.study is 'Short name: the base, and data set and origin where they are needed to tell it from others.';
comment on column study.study_key is 'Its name whatever else the database holds: base:eval_split:origin.';
comment on column study.dataset_id is 'The training data, where all runs share it.';
comment on column study.n_datasets is 'Training data sets; several that are evaluated on one split are an axis of the study.';
comment on column study.n_methods is 'Tuning methods.';
comment on column study.n_runs is 'Runs.';
comment on column study.n_sizes is 'Sizes of base models.';
