create or replace view correlations as
with part as (
    select *, dense_rank() over (order by origin, ladder, dataset_id, x, y, n_params) as part
    from (
        select * from correlation_pair
        union all select * replace (null::bigint as n_params) from correlation_pair)
    where a is not null and b is not null
),
ranked as (
    select *, row_number() over (partition by part order by a, b) as i,
        rank() over (partition by part order by a) + count(*) over (partition by part, a) / 2 as rank_a,
        rank() over (partition by part order by b) + count(*) over (partition by part, b) / 2 as rank_b
    from part
),
tau as (
    select p.part, sum(sign(p.a - q.a) * sign(p.b - q.b))
        / sqrt(sum(abs(sign(p.a - q.a)))::double * sum(abs(sign(p.b - q.b)))::double) as kendall
    from ranked p
    join ranked q on p.part = q.part and p.i < q.i
    group by p.part
),
found as (
    select origin, ladder, dataset_id, x, y, n_params, any_value(kendall) as kendall, corr(a, b) as pearson,
        corr(rank_a, rank_b) as spearman, count(*) as n_points
    from ranked
    join tau using (part)
    group by origin, ladder, dataset_id, x, y, n_params
    having count(*) >= 3
)
select origin, ladder, dataset_id, x, y, n_params, coefficient, value, p_value, n_points, source
from correlation
where source not like 'measured:%'
union all
select f.origin, f.ladder, f.dataset_id, f.x, f.y, f.n_params, f.coefficient, f.value, m.p_value, f.n_points,
    'losses and scores of this database'
from (
    select *, case coefficient when 'kendall' then kendall when 'pearson' then pearson else spearman end as value
    from found
    cross join (values ('kendall'), ('pearson'), ('spearman')) c(coefficient)
) f
left join correlation m
    on m.source like 'measured:%' and m.origin = f.origin and m.ladder is not distinct from f.ladder and m.x = f.x
        and m.y = f.y and m.dataset_id is not distinct from f.dataset_id and m.n_params is not distinct from f.n_params
        and m.coefficient = f.coefficient and m.n_points = f.n_points and abs(m.value - f.value) < 1e-9
where not exists (
    select 1
    from correlation k
    where k.source not like 'measured:%' and k.origin = f.origin and k.ladder is not distinct from f.ladder
        and k.x = f.x and k.y = f.y and k.dataset_id is not distinct from f.dataset_id
        and k.n_params is not distinct from f.n_params and k.coefficient = f.coefficient);
comment on view correlations is 'Correlations over tuning methods, by size and over all sizes (n_params null): those printed, and for the rest those that follow from the losses and scores here, with the p-values that fit-scaling has stored for them. Losses count as negative: positive means that better goes with more.';
