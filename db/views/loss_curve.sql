create or replace view loss_curve as
select
    a.run_id, s.study_key, r.origin, r.model_id, r.method_id, s.series, r.dataset_id, r.seed, r.n_params, r.n_trainable,
    p.split, p.step, p.n_tokens, p.loss_nats, p.loss_nats / ln(2) / r.bytes_per_token as bits_per_byte, p.regularizer,
    p.learning_rate, a.state
from loss_point p
join drawn_attempt a using (load_key)
join run r on r.run_id = a.run_id
join run_series s on s.run_id = a.run_id;
comment on view loss_curve is 'Loss over steps of each run, from its last finished attempt; of a run that is being logged, as far as it has come.';
comment on column loss_curve.bits_per_byte is 'The loss in bits a byte of text, which tokenizers share.';
comment on column loss_curve.state is 'done, or running or interrupted for a run that has no end yet.';
