"""Security on Asleep at the Keyboard (the paper's table 5)."""

from astraios.report.base import Table

SQL = """\
select s.origin, s.ladder, s.dataset_id, s.method_id, coalesce(t.title, s.method_id) as row,
    case s.metric when 'valid' then 'Valid % ↑' when 'insecure' then 'Insecure % ↓'
        when 'insecure_fallback' then 'Insecure % ↓ (fallback)' else 'Insecure % ↓ (SARIF)' end as head,
    s.n_params as sub_size, 100 * avg(s.value) as value, case s.metric when 'valid' then 1 else -1 end as better,
    case when s.metric in ('insecure_fallback', 'insecure_sarif') then any_value(
        'by ' || coalesce(e.settings ->> 'analyser', 'another analyser')
        || ', not the paper''s CodeQL: not to be compared with its numbers'
        || case s.metric when 'insecure_fallback' then '. It sees a part of '
            || array_to_string([name for name in json_keys(e.settings, '$.coverage')
                if (e.settings -> 'coverage' ->> name) <> 'none'], ', ') || ', and of the others nothing'
            else '' end) end as note
from final_score s
left join tuning_method t using (method_id)
left join latest_attempt a using (run_id)
left join evaluation e on e.run_id = s.run_id and e.attempt = a.attempt and e.task_id = 'aatk'
where s.task_id = 'aatk' and s.metric in ('valid', 'insecure', 'insecure_fallback', 'insecure_sarif')
group by s.origin, s.ladder, s.dataset_id, s.metric, s.method_id, t.title, s.n_params
order by s.metric <> 'valid', s.metric, s.n_params, s.method_id"""

TABLE = Table(
    name="security",
    number=5,
    title="Security on Asleep at the Keyboard",
    section="robustness",
    order=30,
    caption="Share of programs that are valid, and share of the valid ones that are insecure, per cent; a column for "
    "each analyser. Best of each column bold, second underlined.",
    sql=SQL,
    format="{:.1f}",
    missing="No scores of Asleep at the Keyboard are stored: run astraios score --task aatk on generations, or "
    "astraios import paper.",
)
