create or replace view run_series as
with setting as (
    select s.study_key, r.run_id, r.method_id, name.name, (r.settings->'settings')->>name.name as value
    from run r
    join run_study s using (run_id), unnest(json_keys(r.settings->'settings')) name(name)
),
varying as (
    select study_key, method_id, name
    from setting
    group by study_key, method_id, name
    having count(distinct coalesce(value, '-')) > 1
),
named as (
    select run_id, string_agg(name || '=' || coalesce(value, 'none'), ' ' order by name) as text
    from setting
    join varying using (study_key, method_id, name)
    group by run_id
),
-- What the newest fit of a study compared, where somebody said so (--by).
newest as (
    select fit_id, method_id
    from fit
    where role = 'target' and quantity = 'loss' and study_key is not null
    qualify created_at = max(created_at) over (partition by study_key)
),
compared as (
    select p.run_id, any_value(n.method_id) as series
    from fit_point p
    join newest n using (fit_id)
    where p.run_id is not null
    group by p.run_id
)
select s.run_id, s.study_key, coalesce(c.series, concat_ws(' ', r.method_id, n.text)) as series
from run_study s
join run r using (run_id)
left join named n using (run_id)
left join compared c using (run_id);
comment on view run_series is 'The series of each run that has a study: what the newest fit of its study compared; else its tuning method, and those settings of the method that vary in the study.';
comment on column run_series.series is 'For instance lora, or lora rank=8 where ranks differ.';
