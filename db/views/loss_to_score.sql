create or replace view loss_to_score as
select
    s.run_id, l.study_key, s.origin, s.model_id, s.ladder, s.method_id, l.series, s.dataset_id, s.seed, s.n_params, s.n_trainable, s.n_tokens,
    l.split, l.loss_nats, s.task_id, s.n_shot, s.metric, s.value, s.stderr, s.n, s.engine, s.chance, s.ceiling,
    s.higher_is_better, s.is_main_metric, s.is_main_n_shot
from final_score s
join final_loss l using (run_id);
comment on view loss_to_score is 'Final loss beside each score of the same run.';
