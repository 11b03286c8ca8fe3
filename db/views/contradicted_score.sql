create or replace view contradicted_score as
select p.run_id, p.origin, p.ladder, p.dataset_id, p.model_id, p.method_id, p.n_params, p.task_id, p.metric,
    p.value as printed, r.value as rescored, e.settings->>'$.contradicted' as reason
from final_score p
join final_score r on r.run_id = p.run_id and r.task_id = p.task_id and r.n_shot = p.n_shot
    and r.metric = p.metric || ' (released)'
join evaluation e on e.run_id = p.run_id and e.task_id = p.task_id and e.n_shot = p.n_shot;
comment on view contradicted_score is 'Scores that were printed one way and come out another when the generations that were released for them are scored: both values. Every other view uses the printed one.';
comment on column contradicted_score.printed is 'Score as printed, a fraction.';
comment on column contradicted_score.rescored is 'Score of the released generations, a fraction.';
comment on column contradicted_score.reason is 'What the released generations give.';
