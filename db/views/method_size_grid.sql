create or replace view method_size_grid as
select
    origin, ladder, dataset_id, model_id, method_id, n_params, any_value(n_trainable) as n_trainable,
    any_value(n_trainable) / n_params as trainable_share, split,
    count(*) as n_seeds, avg(loss_nats) as loss_nats, stddev_samp(loss_nats) as loss_sd, avg(bits_per_byte) as bits_per_byte
from final_loss
group by origin, ladder, dataset_id, model_id, method_id, n_params, split;
comment on view method_size_grid is 'Tuning methods by size: final loss averaged over seeds, with its spread.';
comment on column method_size_grid.bits_per_byte is 'Mean over seeds of bits a byte.';
comment on column method_size_grid.loss_nats is 'Mean over seeds of the final loss, nats a token.';
comment on column method_size_grid.loss_sd is 'Standard deviation over seeds; null for one.';
comment on column method_size_grid.n_seeds is 'Runs that were averaged.';
comment on column method_size_grid.trainable_share is 'Trained parameters over all of the base model''s.';
