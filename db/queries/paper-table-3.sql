-- The paper's table 3: pass@1 on HumanEvalPack, Python and Java, per cent.
-- Two cells are contradicted by the released generations: the query `contradicted` shows both of their values.
select * exclude (place)
from (pivot (
    select t.title as method, printf('%.2f', 100 * s.value) as score,
        if(s.task_id like '%-java', 'Java', 'Python') as language,
        case when s.task_id like '%synthesize%' then 'Synthesis' when s.task_id like '%fix%' then 'Repair'
            else 'Explanation' end || case s.n_params
            when 1137207296 then ' 1B' when 3043311104 then ' 3B' when 7327263232 then ' 7B' else ' 16B' end as head,
        list_position(['lora', 'ptuning', 'adapterh', 'adapterp', 'parallel', 'ia3', 'fft'], s.method_id) as place
    from final_score s
    join tuning_method t using (method_id)
    where s.origin = 'published' and s.task_id like 'humaneval%' and s.metric = 'pass@1'
) on head in (
    'Synthesis 1B', 'Synthesis 3B', 'Synthesis 7B', 'Synthesis 16B', 'Repair 1B', 'Repair 3B', 'Repair 7B',
    'Repair 16B', 'Explanation 1B', 'Explanation 3B', 'Explanation 7B', 'Explanation 16B')
using first(score) group by language, place, method)
order by language desc, place;
