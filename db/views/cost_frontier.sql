create or replace view cost_frontier as
select
    l.run_id, l.study_key, l.origin, l.model_id, l.ladder, l.dataset_id, l.method_id, l.series, l.seed, l.n_params, l.n_trainable, l.split, l.loss_nats,
    l.train_flops, a.wall_seconds, a.device_seconds, a.tokens_per_second, a.peak_memory_bytes, a.checkpoint_bytes, a.price,
    not exists (
        select 1
        from final_loss o
        join latest_attempt b using (run_id)
        where o.split = l.split and o.study_key = l.study_key
            and b.device_seconds <= a.device_seconds and o.loss_nats < l.loss_nats
    ) as on_frontier
from final_loss l
join latest_attempt a using (run_id);
comment on view cost_frontier is 'Cost of each run beside its loss, and whether no run of its study was both cheaper and better.';
comment on column cost_frontier.on_frontier is 'Whether no run of its study was both cheaper and better.';
