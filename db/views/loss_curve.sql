create or replace view loss_curve as
select
    r.run_id, s.study_key, r.origin, r.model_id, r.method_id, s.series, r.dataset_id, r.seed, r.n_params, r.n_trainable,
    p.split, p.step, p.n_tokens, p.loss_nats, p.loss_nats / ln(2) / r.bytes_per_token as bits_per_byte, p.regularizer
from loss_point p
join latest_attempt a using (load_key)
join run r on r.run_id = a.run_id
join run_series s on s.run_id = a.run_id;
comment on view loss_curve is 'Loss over steps of each run, from its last finished attempt.';
comment on column loss_curve.bits_per_byte is 'The loss in bits a byte of text, which tokenizers share.';
