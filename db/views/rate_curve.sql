create or replace view rate_curve as
select c.study_key, c.origin, m.ladder, c.dataset_id, c.method_id, c.series, c.n_params, r.n_tokens, r.learning_rate, c.split,
    c.step, avg(c.loss_nats) as loss_nats, avg(c.regularizer) as regularizer, count(distinct c.run_id) as n_seeds
from loss_curve c
join run r using (run_id)
left join base_model m on m.model_id = c.model_id
group by c.study_key, c.origin, m.ladder, c.dataset_id, c.method_id, c.series, c.n_params, r.n_tokens, r.learning_rate,
    c.split, c.step;
comment on view rate_curve is 'Loss over steps of each series, size and learning rate, mean over seeds.';
comment on column rate_curve.learning_rate is 'Peak of the schedule.';
comment on column rate_curve.loss_nats is 'Mean over seeds, nats a token.';
comment on column rate_curve.n_seeds is 'Runs that were averaged.';
comment on column rate_curve.n_tokens is 'Tokens that the whole run is trained on.';
comment on column rate_curve.regularizer is 'What the method adds to its training loss, mean over seeds.';
