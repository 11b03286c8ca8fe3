-- The paper's table 4: worst-case Robust Pass and Robust Change at 1 on ReCode, per cent.
select * exclude (place)
from (pivot (
    select t.title as method, printf('%.2f', 100 * s.value) as score,
        if(s.metric = 'robust_pass@1', 'Robust Pass', 'Robust Change') as measure,
        case s.task_id when 'recode-format' then 'Format' when 'recode-function' then 'Function'
            when 'recode-syntax' then 'Syntax' else 'Docstring' end || case s.n_params
            when 1137207296 then ' 1B' when 3043311104 then ' 3B' when 7327263232 then ' 7B' else ' 16B' end as head,
        list_position(['lora', 'ptuning', 'adapterh', 'adapterp', 'parallel', 'ia3', 'fft'], s.method_id) as place
    from final_score s
    join tuning_method t using (method_id)
    where s.origin = 'published' and s.task_id like 'recode-%' and s.metric in ('robust_pass@1', 'robust_change@1')
) on head in (
    'Format 1B', 'Format 3B', 'Format 7B', 'Format 16B', 'Function 1B', 'Function 3B', 'Function 7B', 'Function 16B',
    'Syntax 1B', 'Syntax 3B', 'Syntax 7B', 'Syntax 16B', 'Docstring 1B', 'Docstring 3B', 'Docstring 7B',
    'Docstring 16B')
using first(score) group by measure, place, method)
order by measure desc, place;
