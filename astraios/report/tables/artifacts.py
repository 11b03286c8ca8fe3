"""What was used and what was made: bases, data, and checkpoints that were kept (the paper's table 6)."""

from astraios.report.base import Table

SQL = """\
with shown as (
    select r.*, m.ladder, m.revision, a.directory, a.checkpoint_bytes, coalesce(t.title, r.method_id) as title
    from run r
    join latest_attempt a using (run_id)
    left join base_model m using (model_id)
    left join tuning_method t using (method_id)
),
artifact as (
    select origin, ladder, any_value(dataset_id) as dataset_id, 1 as place, 'Base models' as block, model_id as row,
        n_params as size, any_value(revision) as version, null::bigint as bytes, null::varchar as directory
    from shown
    group by origin, ladder, model_id, n_params
    union all
    select s.origin, any_value(s.ladder), s.dataset_id, 2, 'Instruction tuning data', coalesce(d.name, s.dataset_id),
        null, any_value(d.hash), null, null
    from shown s
    left join dataset d using (dataset_id)
    where s.dataset_id is not null
    group by s.origin, s.dataset_id, d.name
    union all
    select origin, ladder, dataset_id, 3, 'Tuned models',
        title || ', ' || model_id || case when seed <> 0 then ', seed ' || seed else '' end, n_params, run_id,
        checkpoint_bytes, directory
    from shown
),
long as (
    select *, unnest(['Version', 'Kept, bytes', 'Where']) as head
    from artifact
)
select origin, ladder, dataset_id, block, row, head, place,
    case head when 'Version' then coalesce(version, 'not recorded')
        when 'Kept, bytes' then case when place < 3 then '' when bytes is null then 'not recorded'
            when bytes = 0 then 'nothing' else printf('%,d', bytes) end
        else case when place < 3 then '' else coalesce(directory, 'not in this database') end end as text,
    null::double as value, 0 as better
from long
order by place, size, row, head = 'Where', head"""

TABLE = Table(
    name="artifacts",
    number=6,
    title="Used and produced artifacts",
    section="cost",
    order=90,
    caption="Base models with their revision, data with their hash, and the tuned models that were kept: the run, the "
    "size of its adapter (of the whole model, for full fine-tuning), and its run directory.",
    sql=SQL,
    corner="Name",
    missing="No finished runs are stored: run astraios collect.",
)
