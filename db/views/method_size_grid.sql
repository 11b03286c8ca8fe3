create or replace view method_size_grid as
select
    origin, ladder, dataset_id, model_id, method_id, n_params, any_value(n_trainable) as n_trainable,
    any_value(n_trainable) / n_params as trainable_share, split,
    count(*) as n_seeds, avg(loss_nats) as loss_nats, stddev_samp(loss_nats) as loss_sd, avg(bits_per_byte) as bits_per_byte
from final_loss
group by origin, ladder, dataset_id, model_id, method_id, n_params, split;
comment on view method_size_grid is 'Tuning methods by size: final loss averaged over seeds, with its spread.';
