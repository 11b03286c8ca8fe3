create or replace view run_study as
with model as (
    select model_id, m.ladder, case when model_id like 'unnamed/%' then 'runs' else coalesce(nullif(trim(regexp_replace(
        regexp_extract(lower(model_id), '[^/]*$'),
        '(^|[-_. ])[0-9]+([.][0-9]+)?[kmbt]($|[-_. ])', '\3', 'g'), '-_. '), ''), 'runs') end as family
    from (select distinct model_id from run)
    left join base_model m using (model_id)
),
described as (
    select
        r.run_id, r.origin, r.dataset_id, coalesce(d.eval_hash, r.dataset_id, '-') as eval_split, m.ladder, r.n_params, m.family
    from run r
    join drawn_attempt a using (run_id)
    join model m using (model_id)
    left join dataset d using (dataset_id)
),
-- Families of one size each can only be compared with each other: they are one study, which says so by its name.
family_size as (
    select origin, eval_split, family, count(distinct n_params) as n_sizes,
        count(*) filter (where count(distinct n_params) = 1) over (partition by origin, eval_split) as n_alone
    from described
    where ladder is null
    group by origin, eval_split, family
)
select d.run_id, d.origin, d.dataset_id, d.ladder, d.eval_split,
    coalesce(d.ladder, case when f.n_sizes > 1 or f.n_alone = 1 then d.family else 'runs' end) as base,
    concat_ws(':', base, d.eval_split, d.origin) as study_key
from described d
left join family_size f
    on d.ladder is null and f.origin = d.origin and f.eval_split = d.eval_split and f.family = d.family;
comment on view run_study is 'The study of each run that is finished or being logged: runs whose losses mean the same thing, of one ladder (else one family of bases), one evaluation split and one origin.';
comment on column run_study.base is 'The ladder; else the family that the base models'' names share without their sizes; else runs.';
comment on column run_study.eval_split is 'Hash of the text that losses are evaluated on, where it is known; else the data set.';
comment on column run_study.study_key is 'base:eval_split:origin, which stays the same when other runs arrive; the view study has the short names.';
