"""How much compute the reference needs to reach each other series' loss."""

from astraios.report.base import Table

SQL = """\
with latest as (
    select p.*, s.origin, s.ladder, s.dataset_id, coalesce(t.title, p.faster) as title,
        coalesce(r.title, p.series) as base
    from speed_up p
    left join study s using (study_key)
    left join tuning_method t on t.method_id = p.faster
    left join tuning_method r on r.method_id = p.series
    where p.series = (select mode(series) from speed_up o where o.study_key = p.study_key)
),
long as (
    select *, unnest(['At the target', 'Factor', '90% interval', 'Verdict']) as what, unnest(range(4)) as what_place
    from latest
)
select origin, ladder, dataset_id, title as row,
    base || ', ' || case unit when 'flops' then 'FLOPs' else unit end as head, what as sub,
    null::double as value, 0 as better,
    case what
        when 'At the target' then printf('%.4f nats', loss)
        when 'Factor' then case when factor is null then 'never' else printf('%.3g x', factor) end
        when 'Verdict' then case when separable then 'separable' else 'not separable' end
        else case when low is null then 'no bound' else printf('%.3g', low) end || ' to '
            || case when high is null then 'no bound' else printf('%.3g', high) end
    end as text
from long
order by unit, loss, title, what_place"""

TABLE = Table(
    name="speed-ups",
    title="Speed-ups",
    section="planning",
    order=30,
    corner="To reach",
    caption="What the reference method would need to reach each method's projected loss at the target, as a multiple "
    "of what that method needs: above 1 the method is faster than the reference, below 1 it is slower. Not separable: "
    "the interval holds 1.",
    sql=SQL,
    missing="No speed-ups are stored: run astraios fit-scaling with two tuning methods or more, whose amounts of data "
    "are known.",
)
