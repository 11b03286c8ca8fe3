create or replace view crossing as
with point as (
    select study_key, origin, ladder, dataset_id, quantity, method_id, n_params, mean, fit_id,
        lead(n_params) over (partition by study_key, method_id order by n_params) as next_n,
        lead(mean) over (partition by study_key, method_id order by n_params) as next_mean
    from main_ranking
),
pair as (
    select a.study_key, a.origin, a.ladder, a.dataset_id, a.quantity, a.method_id, b.method_id as next_method_id, a.n_params,
        a.next_n, a.mean, a.next_mean, a.mean - b.mean as gap, a.next_mean - b.next_mean as next_gap, a.fit_id
    from point a
    join point b
        on a.study_key is not distinct from b.study_key and a.n_params = b.n_params and a.method_id <> b.method_id
    where a.next_n is not null and b.next_n = a.next_n
)
select study_key, origin, ladder, dataset_id, quantity, method_id, next_method_id,
    exp(ln(n_params) + gap / (gap - next_gap) * (ln(next_n) - ln(n_params))) as n_params,
    mean + gap / (gap - next_gap) * (next_mean - mean) as mean, fit_id
from pair
where case quantity when 'loss' then gap < 0 and next_gap > 0 else gap > 0 and next_gap < 0 end;
comment on view crossing is 'Where the projected mean losses of two methods cross (mean scores, where no losses are projected): between two projected sizes they are taken as straight in log size. A crossing of means says nothing about how sure it is: see ranking.p_best.';
comment on column crossing.method_id is 'The better method below the crossing.';
comment on column crossing.next_method_id is 'The better method above it.';
comment on column crossing.n_params is 'Size at which they cross.';
comment on column crossing.mean is 'Projected mean of both there: a loss in nats, or a mean score as a fraction.';
comment on column crossing.quantity is 'loss, or score.';
comment on column crossing.fit_id is 'Fit of the method that gives way.';
