-- The paper's table 2: accuracy of defect detection and F1 of clone detection, per cent.
select * exclude (place)
from (pivot (
    select t.title as method, printf('%.2f', 100 * s.value) as score,
        case s.task_id when 'devign' then 'Defect' else 'Clone' end || case s.n_params
            when 1137207296 then ' 1B' when 3043311104 then ' 3B' when 7327263232 then ' 7B' else ' 16B' end as head,
        list_position(['lora', 'ptuning', 'adapterh', 'adapterp', 'parallel', 'ia3', 'fft'], s.method_id) as place
    from final_score s
    join tuning_method t using (method_id)
    where s.origin = 'published' and s.task_id in ('devign', 'bigclonebench') and s.is_main_metric
) on head in ('Defect 1B', 'Defect 3B', 'Defect 7B', 'Defect 16B', 'Clone 1B', 'Clone 3B', 'Clone 7B', 'Clone 16B')
using first(score) group by place, method)
order by place;
