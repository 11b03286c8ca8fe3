create or replace view method_size_grid as
with cell as (
    select
        study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params, n_tokens, learning_rate, split,
        any_value(n_trainable) as n_trainable, count(*) as n_seeds, avg(loss_nats) as loss_nats,
        stddev_samp(loss_nats) as loss_sd, avg(bits_per_byte) as bits_per_byte
    from final_loss
    group by all
)
select
    study_key, origin, ladder, dataset_id, model_id, method_id, series, n_params, n_tokens, n_trainable,
    n_trainable / n_params as trainable_share, split, n_seeds, loss_nats, loss_sd, bits_per_byte, learning_rate,
    greatest(1, count(distinct learning_rate) over point) as n_rates,
    n_tokens is not distinct from max(n_tokens) over (
        partition by study_key, origin, ladder, dataset_id, model_id, series, n_params, split) as is_most_data
from cell
window point as (partition by study_key, origin, ladder, dataset_id, model_id, series, n_params, n_tokens)
qualify learning_rate is not distinct from first_value(learning_rate) over (
    partition by study_key, origin, ladder, dataset_id, model_id, series, n_params, n_tokens
    order by split <> 'test', split, loss_nats, learning_rate);
comment on view method_size_grid is 'Series by size (and amount of data): final loss averaged over seeds, with its spread, at the learning rate whose mean test loss is lowest (train loss where no run of the point has a test loss).';
comment on column method_size_grid.bits_per_byte is 'Mean over seeds of bits a byte.';
comment on column method_size_grid.is_most_data is 'Whether the series was trained on no more data at this size.';
comment on column method_size_grid.learning_rate is 'The rate whose mean over seeds is lowest: one for all splits of a point.';
comment on column method_size_grid.loss_nats is 'Mean over seeds of the final loss, nats a token.';
comment on column method_size_grid.loss_sd is 'Standard deviation over seeds; null for one.';
comment on column method_size_grid.n_rates is 'Learning rates that were tried at this point.';
comment on column method_size_grid.n_seeds is 'Runs that were averaged.';
comment on column method_size_grid.trainable_share is 'Trained parameters over all of the base model''s.';
