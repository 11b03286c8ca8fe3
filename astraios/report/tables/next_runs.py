"""The next runs to buy: what would tell the candidates apart, or test the projection."""

from astraios.report.base import Table

SQL = """\
with cost as (
    select origin, ladder, dataset_id, method_id, n_params, avg(device_seconds) as device_seconds, count(*) as n_seeds
    from cost_frontier
    where split = 'test'
    group by origin, ladder, dataset_id, method_id, n_params
    qualify n_params = max(n_params) over (partition by origin, ladder, dataset_id, method_id)
),
candidate as (
    select r.*, coalesce(t.title, r.method_id) as title, c.n_params as largest, c.n_seeds, c.device_seconds,
        row_number() over (
            partition by r.origin, r.ladder, r.dataset_id
            order by (r.high - r.low) / nullif(c.device_seconds, 0) desc nulls last, r.place) as turn
    from ranking r
    join cost c
        on c.method_id = r.method_id and c.origin is not distinct from coalesce(r.origin, c.origin)
        and c.ladder is not distinct from coalesce(r.ladder, c.ladder)
        and c.dataset_id is not distinct from coalesce(r.dataset_id, c.dataset_id)
    left join tuning_method t on t.method_id = r.method_id
    where r.is_target and r.quantity = 'loss' and r.may_be_best
),
long as (
    select origin, ladder, dataset_id, turn, title as row, largest,
        unnest(['Base model', 'Seeds so far', 'Device seconds', 'Probability of being best',
            'Width of the interval, nats']) as head,
        unnest([null, n_seeds, device_seconds, p_best, high - low]::double[]) as number
    from candidate
)
select origin, ladder, dataset_id, row, head,
    case head when 'Seeds so far' then printf('%d', number::bigint) when 'Device seconds' then printf('%.1f', number)
        when 'Probability of being best' then
            case when number > 0.99 then '>99%' when number < 0.01 then '<1%' else printf('%.0f%%', 100 * number) end
        when 'Width of the interval, nats' then printf('%.4f', number)
        else case when largest >= 1e9 then printf('%.3gB', largest / 1e9) when largest >= 1e6
            then printf('%.3gM', largest / 1e6) else printf('%.3gk', largest / 1e3) end end as text,
    null::double as value, 0 as better
from long
order by turn"""

TABLE = Table(
    name="next-runs",
    title="The next runs to buy",
    section="cost",
    order=40,
    caption="One more seed, at the largest size measured, of each method that may still be the best at the target; "
    "first the one whose interval is widest for its cost.",
    sql=SQL,
    missing="No ranking is stored: run astraios fit-scaling --target SIZE with two tuning methods or more.",
)
