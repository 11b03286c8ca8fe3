create or replace view outranked_run as
with measured as (
    select r.run_id, t.study_key, r.origin, m.ladder, r.dataset_id, r.model_id, t.series, r.n_params, r.n_tokens,
        r.learning_rate, s.split, s.last_loss as loss_nats
    from run r
    join latest_attempt a using (run_id)
    join run_series t using (run_id)
    left join base_model m using (model_id)
    left join loss_summary s using (run_id, attempt)
),
cell as (
    select study_key, origin, ladder, dataset_id, model_id, series, n_params, n_tokens, learning_rate, split,
        avg(loss_nats) as loss_nats
    from measured
    group by all
),
shown as (
    select *
    from cell
    qualify row_number() over (
        partition by study_key, origin, ladder, dataset_id, model_id, series, n_params
        order by n_tokens desc nulls last, split is distinct from 'test', split, loss_nats, learning_rate) = 1
)
select distinct m.run_id, m.study_key, m.series, m.n_params, m.n_tokens, m.learning_rate,
    s.n_tokens as shown_n_tokens, s.learning_rate as shown_learning_rate
from measured m
join shown s
    on s.study_key = m.study_key and s.model_id = m.model_id and s.series = m.series and s.n_params = m.n_params
    and s.origin is not distinct from m.origin and s.ladder is not distinct from m.ladder
    and s.dataset_id is not distinct from m.dataset_id
where m.n_tokens is distinct from s.n_tokens
    or (m.learning_rate is distinct from s.learning_rate and s.loss_nats is not null);
comment on view outranked_run is 'Runs that stand behind no point of a chart over size: the same series and size was trained on more data, or at a learning rate with a lower mean loss (test loss where any run of that series and size has one). Without losses nothing ranks learning rates. Fits read them all.';
comment on column outranked_run.shown_n_tokens is 'Tokens of the runs that stand there instead.';
comment on column outranked_run.shown_learning_rate is 'Their learning rate.';
