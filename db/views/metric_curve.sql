create or replace view metric_curve as
select
    a.run_id, s.study_key, r.origin, r.model_id, r.method_id, s.series, r.dataset_id, r.seed, r.n_params, r.n_trainable,
    p.name, p.step, p.n_tokens, p.value, a.state
from metric_point p
join drawn_attempt a using (load_key)
join run r on r.run_id = a.run_id
join run_series s on s.run_id = a.run_id;
comment on view metric_curve is 'Whatever else a training logged, by the name that it was given.';
comment on column metric_curve.state is 'As in loss_curve.';
