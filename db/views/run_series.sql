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
-- Learning rates that no loss ranks: where a point of a chart has several, each rate is a series of its own; in a
-- series without any loss wherever it was tried, so that its line goes on.
finished as (
    select a.run_id, bool_or(l.last_loss is not null) as has_loss,
        a.run_id in (select run_id from score where value is not null) as has_score
    from latest_attempt a
    left join loss_summary l using (run_id, attempt)
    group by a.run_id
),
point as (
    select s.study_key, concat_ws(' ', r.method_id, n.text) as name, r.model_id, r.dataset_id, r.n_tokens,
        list(r.run_id) as runs, bool_or(f.has_loss) as has_loss,
        not bool_or(f.has_loss)
            and count(distinct coalesce(r.learning_rate, -1)) filter (where f.has_score) > 1 as is_torn
    from run_study s
    join run r using (run_id)
    join finished f using (run_id)
    left join named n using (run_id)
    group by all
),
torn as (
    select unnest(runs) as run_id
    from (
        select runs, is_torn or (bool_or(is_torn) over line and not bool_or(has_loss) over line) as is_apart
        from point
        window line as (partition by study_key, name))
    where is_apart
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
select s.run_id, s.study_key, coalesce(c.series, concat_ws(' ', r.method_id, n.text,
    case when t.run_id is not null then 'lr=' || coalesce(printf('%g', r.learning_rate), 'none') end)) as series,
    t.run_id is not null as is_rate_apart
from run_study s
join run r using (run_id)
left join named n using (run_id)
left join torn t using (run_id)
left join compared c using (run_id);
comment on view run_series is 'The series of each run that has a study: what the newest fit of its study compared; else its tuning method, and those settings of the method that vary in the study, and its learning rate where scores of several stand without a loss that ranks them.';
comment on column run_series.series is 'For instance lora, or lora rank=8 where ranks differ.';
comment on column run_series.is_rate_apart is 'Whether its learning rate is part of its series, for no loss ranks the rates that were tried.';
