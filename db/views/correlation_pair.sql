create or replace view correlation_pair as
with cell as (
    select study_key, origin, ladder, dataset_id, n_params, series as method_id, any_value(n_trainable)::double as n_trainable,
        -max(loss_nats) filter (where split = 'train') as train_loss,
        -max(loss_nats) filter (where split = 'test') as test_loss,
        max(mean_score) as mean_score
    from (
        select * from method_size_grid where is_most_data
        union all by name select * from mean_task_score where is_main)
    group by study_key, origin, ladder, dataset_id, n_params, series
)
select study_key, origin, ladder, dataset_id, n_params, method_id, 'n_trainable' as x, 'train_loss' as y, n_trainable as a, train_loss as b from cell
union all select study_key, origin, ladder, dataset_id, n_params, method_id, 'n_trainable', 'test_loss', n_trainable, test_loss from cell
union all select study_key, origin, ladder, dataset_id, n_params, method_id, 'n_trainable', 'mean_score', n_trainable, mean_score from cell
union all select study_key, origin, ladder, dataset_id, n_params, method_id, 'train_loss', 'mean_score', train_loss, mean_score from cell
union all select study_key, origin, ladder, dataset_id, n_params, method_id, 'test_loss', 'mean_score', test_loss, mean_score from cell;
comment on view correlation_pair is 'What is correlated: two quantities of one tuning method at one size. Losses count as negative: positive means that better goes with more.';
comment on column correlation_pair.x is 'n_trainable, train_loss or test_loss.';
comment on column correlation_pair.y is 'train_loss, test_loss or mean_score.';
comment on column correlation_pair.a is 'Value of x; null where it is not known.';
comment on column correlation_pair.b is 'Value of y; null where it is not known.';
