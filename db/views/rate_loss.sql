create or replace view rate_loss as
with last_extra as (
    select run_id, max_by(regularizer, step) as regularizer
    from loss_curve
    where regularizer is not null
    group by run_id
)
select l.study_key, l.origin, l.ladder, l.dataset_id, l.method_id, l.series, l.n_params, l.n_tokens, l.learning_rate, l.split,
    avg(l.loss_nats) as loss_nats, stddev_samp(l.loss_nats) as loss_sd, count(*) as n_seeds,
    avg(e.regularizer) as regularizer, count(*) over point as n_rates
from final_loss l
left join last_extra e using (run_id)
group by l.study_key, l.origin, l.ladder, l.dataset_id, l.method_id, l.series, l.n_params, l.n_tokens, l.learning_rate, l.split
window point as (
    partition by l.study_key, l.origin, l.ladder, l.dataset_id, l.series, l.n_params, l.n_tokens, l.split);
comment on view rate_loss is 'Final loss of each series, size and learning rate, mean over seeds: all rates, where method_size_grid has the best alone.';
comment on column rate_loss.learning_rate is 'Peak of the schedule.';
comment on column rate_loss.loss_nats is 'Cross-entropy at the last evaluation, nats a token; what a method adds to its training loss is not in it.';
comment on column rate_loss.loss_sd is 'Standard deviation over seeds; null for one.';
comment on column rate_loss.n_rates is 'Learning rates that were tried at this point.';
comment on column rate_loss.n_seeds is 'Runs that were averaged.';
comment on column rate_loss.regularizer is 'What the method added to its training loss at the last step that was logged (AdaLoRA''s orthogonality), nats a token.';
