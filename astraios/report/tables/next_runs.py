"""The next runs to buy, as `astraios design` chooses them."""

from astraios.report.base import Table

SQL = """\
with chosen as (
    select n.*, s.origin, s.ladder, s.dataset_id, coalesce(t.title, n.series) as title
    from next_run n
    left join study s using (study_key)
    left join tuning_method t on t.method_id = n.series
),
long as (
    select *, unnest(['Run', 'Size', 'Device-hours', 'Uncertainty removed', 'Left of it']) as head,
        unnest(range(5)) as head_place
    from chosen
)
select origin, ladder, dataset_id, printf('%d', place) as row, head,
    case head
        when 'Run' then title
        when 'Device-hours' then printf('%.3g', device_hours)
        when 'Uncertainty removed' then printf('%.1f%%', 100 * gain)
        when 'Left of it' then printf('%.2f%% of the loss', 100 * width_after)
        else case when n_params >= 1e9 then printf('%.3gB', n_params / 1e9) when n_params >= 1e6
            then printf('%.3gM', n_params / 1e6) else printf('%.3gk', n_params / 1e3) end end as text,
    null::double as value, 0 as better,
    case head when 'Device-hours' then 'Device-hours: ' || cost_source || '.' end as note
from long
order by place, head_place"""

TABLE = Table(
    name="next-runs",
    title="The next runs to buy",
    section="cost",
    order=40,
    corner="Place",
    caption="The runs that take most uncertainty from the target's losses a device-hour, each given those before it: "
    "the rule of astraios design.",
    sql=SQL,
    missing="No next runs are stored: run astraios fit-scaling --target SIZE on losses with measured costs, or with "
    "known amounts of data.",
)
