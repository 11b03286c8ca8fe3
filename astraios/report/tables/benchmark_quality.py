"""What each task and metric can decide at the sizes at hand."""

from astraios.report.base import Table

SQL = """\
with long as (
    select origin, ladder, dataset_id, title || ', ' || metric as row, decision_accuracy as place,
        unnest(['Pairs in order', 'Signal to noise', 'Items', 'Items needed', 'Power', 'Points above chance',
            'Decides']) as head,
        unnest([printf('%.0f%%', 100 * decision_accuracy), printf('%.2g', signal_to_noise), printf('%.0f', n_items),
            printf('%.0f', n_needed), printf('%.0f%%', 100 * power), printf('%.1f', 100 * distance_from_chance),
            case when decides then 'yes' else 'nothing' end]) as text,
        unnest(range(7)) as head_place
    from task_quality
)
select origin, ladder, dataset_id, row, head, text, null::double as value, 0 as better
from long
where text is not null
order by place desc nulls last, row, head_place"""

TABLE = Table(
    name="benchmark-quality",
    title="What tasks can decide",
    section="trust",
    order=45,
    corner="Task",
    caption="Pairs of methods that the largest size but one orders as the largest does; the spread between methods "
    "over that of a repeated score; items that would show the difference asked about (two points, unless told "
    "otherwise) with 80 % power, and the power of those that there are.",
    sql=SQL,
    missing="No task has been judged: run astraios benchmark-quality.",
)
