create or replace view score_curve as
select
    a.run_id, s.study_key, r.origin, r.model_id, r.method_id, s.series, r.dataset_id, r.seed, r.n_params, r.n_trainable,
    p.task_id, p.metric, p.step, p.n_tokens, p.device_seconds, p.value, p.stderr, p.n, a.state
from score_point p
join drawn_attempt a using (load_key)
join run r on r.run_id = a.run_id
join run_series s on s.run_id = a.run_id;
comment on view score_curve is 'Scores along training of each run: rewards, pass rates, scores of checkpoints.';
comment on column score_curve.state is 'As in loss_curve.';
