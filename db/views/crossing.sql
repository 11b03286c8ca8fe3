create or replace view crossing as
with point as (
    select study_key, origin, ladder, dataset_id, method_id, n_params, mean, fit_id,
        lead(n_params) over (partition by study_key, method_id order by n_params) as next_n,
        lead(mean) over (partition by study_key, method_id order by n_params) as next_mean
    from latest_projection
    where role = 'target' and quantity = 'loss' and coalesce(split, 'test') = 'test'
),
pair as (
    select a.study_key, a.origin, a.ladder, a.dataset_id, a.method_id, b.method_id as next_method_id, a.n_params, a.next_n,
        a.mean, a.next_mean, a.mean - b.mean as gap, a.next_mean - b.next_mean as next_gap, a.fit_id
    from point a
    join point b
        on a.study_key is not distinct from b.study_key and a.n_params = b.n_params and a.method_id <> b.method_id
    where a.next_n is not null and b.next_n = a.next_n
)
select study_key, origin, ladder, dataset_id, method_id, next_method_id,
    exp(ln(n_params) + gap / (gap - next_gap) * (ln(next_n) - ln(n_params))) as n_params,
    mean + gap / (gap - next_gap) * (next_mean - mean) as loss, fit_id
from pair
where gap < 0 and next_gap > 0;
comment on view crossing is 'Where the projected mean losses of two methods cross: between two projected sizes they are taken as straight in log size. A crossing of means says nothing about how sure it is: see ranking.p_best.';
comment on column crossing.method_id is 'The better method below the crossing.';
comment on column crossing.next_method_id is 'The better method above it.';
comment on column crossing.n_params is 'Size at which they cross.';
comment on column crossing.loss is 'Projected mean loss of both there, nats.';
comment on column crossing.fit_id is 'Fit of the method that gives way.';
