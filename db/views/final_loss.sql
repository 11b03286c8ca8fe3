create or replace view final_loss as
select
    r.run_id, t.study_key, r.origin, r.model_id, m.ladder, r.method_id, t.series, r.dataset_id, r.seed,
    r.n_params, r.n_params_nonembedding, r.n_trainable, r.n_trainable / r.n_params as trainable_share,
    r.n_tokens, r.steps, r.train_flops, r.learning_rate, r.bytes_per_token,
    s.split, s.last_step as step, s.last_loss as loss_nats, s.min_loss, s.mean_last5_loss,
    s.last_loss / ln(2) / r.bytes_per_token as bits_per_byte
from run r
join latest_attempt a using (run_id)
join loss_summary s using (run_id, attempt)
join run_series t using (run_id)
left join base_model m using (model_id);
comment on view final_loss is 'Final loss of each run and split (last evaluation; min and mean of the last five beside it).';
comment on column final_loss.loss_nats is 'Loss at the last evaluation, nats a token.';
comment on column final_loss.bits_per_byte is 'The same in bits a byte of text, which tokenizers share.';
comment on column final_loss.step is 'Step of the last evaluation.';
comment on column final_loss.trainable_share is 'Trained parameters over all of the base model''s.';
