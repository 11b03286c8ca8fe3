create or replace view run_series as
with own as materialized (
    select s.run_id, s.study_key, r.method_id, r.model_id, r.dataset_id, r.n_tokens, r.learning_rate,
        r.settings->'settings' as settings
    from run_study s
    join run r using (run_id)
),
setting as (
    select o.study_key, o.run_id, o.method_id, s.key as name, s.value->>'$' as value
    from own o, json_each(o.settings) s
),
varied as (
    select study_key, method_id, name
    from setting
    group by study_key, method_id, name
    having min(coalesce(value, '-')) <> max(coalesce(value, '-'))
),
named as (
    select run_id, string_agg(name || '=' || coalesce(value, 'none'), ' ' order by name) as text
    from setting
    semi join varied using (study_key, method_id, name)
    group by run_id
),
-- Learning rates that no loss ranks: where a point of a chart has several, each rate is a series of its own; in a
-- series without any loss wherever it was tried, so that its line goes on. Only lines with a run that has scores and no
-- loss can have such a point, and most databases have none.
measured as (
    select o.run_id, o.study_key, concat_ws(' ', o.method_id, n.text) as name, o.model_id, o.dataset_id, o.n_tokens,
        o.learning_rate, a.attempt
    from own o
    join latest_attempt a using (run_id)
    left join named n using (run_id)
),
unranked as (
    select m.study_key, m.name
    from measured m
    semi join score c on c.run_id = m.run_id and c.value is not null
    anti join loss_summary l on l.run_id = m.run_id and l.attempt = m.attempt and l.last_loss is not null
),
point as (
    select m.study_key, m.name, m.model_id, m.dataset_id, m.n_tokens,
        list(m.run_id) as runs, bool_or(l.run_id is not null) as has_loss,
        not bool_or(l.run_id is not null)
            and count(distinct coalesce(m.learning_rate, -1)) filter (where c.run_id is not null) > 1 as is_torn
    from measured m
    semi join unranked using (study_key, name)
    left join (select distinct run_id, attempt from loss_summary where last_loss is not null) l using (run_id, attempt)
    left join (select distinct run_id from score where value is not null) c using (run_id)
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
select o.run_id, o.study_key, coalesce(c.series, concat_ws(' ', o.method_id, n.text,
    case when t.run_id is not null then 'lr=' || coalesce(printf('%g', o.learning_rate), 'none') end)) as series,
    t.run_id is not null as is_rate_apart
from own o
left join named n using (run_id)
left join torn t using (run_id)
left join compared c using (run_id);
comment on view run_series is 'The series of each run that has a study: what the newest fit of its study compared; else its tuning method, and those settings of the method that vary in the study, and its learning rate where scores of several stand without a loss that ranks them.';
comment on column run_series.series is 'For instance lora, or lora rank=8 where ranks differ.';
comment on column run_series.is_rate_apart is 'Whether its learning rate is part of its series, for no loss ranks the rates that were tried.';
