create or replace view final_score as
with scored as (
    select run_id, attempt, task_id, n_shot, metric, value, stderr, ci_low, ci_high, n, n_failed
    from score
    union all
    select p.run_id, p.attempt, p.task_id, p.n_shot, 'robust_change@1', abs(h.value - p.value), null, null, null, p.n, p.n_failed
    from score p
    join score h
        on h.run_id = p.run_id and h.attempt = p.attempt and h.n_shot = p.n_shot and h.n is not distinct from p.n
        and h.task_id = 'humaneval' and h.metric = 'pass@1'
    where p.task_id like 'recode-%' and p.metric = 'robust_pass@1' and not exists (
        select 1
        from score c
        where c.run_id = p.run_id and c.attempt = p.attempt and c.task_id = p.task_id and c.metric = 'robust_change@1')
)
select
    r.run_id, g.study_key, r.origin, r.model_id, m.ladder, r.method_id, g.series, r.dataset_id, r.seed,
    r.n_params, r.n_trainable, r.n_trainable / r.n_params as trainable_share, r.n_tokens,
    s.task_id, s.n_shot, s.metric, s.value, s.stderr, s.ci_low, s.ci_high, s.n, s.n_failed, v.engine,
    coalesce(o.chance, case when
        coalesce(not list_contains(t.lower_is_better::varchar[], s.metric), t.higher_is_better, true)
        then coalesce(e.chance, case when (t.chance_from is null and s.metric = t.metric) or t.chance = 0 or regexp_matches(s.metric,
            '(?i)^(acc(uracy)?|len_norm|(quasi_)?prefix_exact_match|answer_probability|choice)(_|,|$)') then t.chance end)
        end) as chance,
    coalesce(o.ceiling, case when
        coalesce(not list_contains(t.lower_is_better::varchar[], s.metric), t.higher_is_better, true)
        then e.ceiling end, case when s.metric = t.metric then t.ceiling end) as ceiling,
    coalesce(not list_contains(t.lower_is_better::varchar[], s.metric), t.higher_is_better, true) as higher_is_better,
    coalesce(s.metric = t.metric, true) as is_main_metric, s.n_shot = f.n_shot as is_main_n_shot
from scored s
join latest_attempt a using (run_id, attempt)
join run r using (run_id)
join run_series g using (run_id)
left join base_model m using (model_id)
left join task t using (task_id)
left join task_fact o on o.task_id = s.task_id and o.metric = s.metric
left join task_fact e on e.task_id = s.task_id and e.metric is null
left join (
    select run_id, attempt, task_id, n_shot, any_value(settings ->> '$.engine') as engine from evaluation group by all
) v on v.run_id = s.run_id and v.attempt = s.attempt and v.task_id = s.task_id and v.n_shot = s.n_shot
join (select task_id, min(n_shot) as n_shot from score group by task_id) f on f.task_id = s.task_id;
comment on view final_score is 'Scores of each run with its sizes and the task''s chance level. A run that was scored on ReCode and on nominal HumanEval (over as many problems) has its Robust Change@1 from the two, where none was stored.';
comment on column final_score.chance is 'Score of guessing: what people say (table task_fact), else the task''s, for its main metric and those of choosing (where samples or the registry of benchmarks say it, those of choosing alone: it is none of an F1); null where nobody knows and for metrics of which less is better.';
comment on column final_score.ceiling is 'Best possible score: what people say, else the task''s for its main metric; null where nobody says, which reads as 1 for a fraction and as no limit for a quantity in a unit (rewards, perplexities, seconds).';
comment on column final_score.higher_is_better is 'Direction of the metric.';
comment on column final_score.is_main_metric is 'Whether the metric is the one that stands for its task.';
comment on column final_score.is_main_n_shot is 'Whether it was asked with the fewest demonstrations that its task was ever asked with.';
comment on column final_score.engine is 'What generated the answers: transformers or vllm, whose samples are others; null where none were generated or nobody says.';
comment on column final_score.trainable_share is 'Trained parameters over all of the base model''s.';
