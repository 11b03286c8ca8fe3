-- The paper's table 5: valid programs and, of those, insecure ones on Asleep at the Keyboard, per cent.
select * exclude (place)
from (pivot (
    select t.title as method, printf('%.1f', 100 * s.value) as score,
        case s.metric when 'valid' then 'Valid' else 'Insecure' end || case s.n_params
            when 1137207296 then ' 1B' when 3043311104 then ' 3B' when 7327263232 then ' 7B' else ' 16B' end as head,
        list_position(['lora', 'ptuning', 'adapterh', 'adapterp', 'parallel', 'ia3', 'fft'], s.method_id) as place
    from final_score s
    join tuning_method t using (method_id)
    where s.origin = 'published' and s.task_id = 'aatk' and s.metric in ('valid', 'insecure')
) on head in (
    'Valid 1B', 'Valid 3B', 'Valid 7B', 'Valid 16B', 'Insecure 1B', 'Insecure 3B', 'Insecure 7B', 'Insecure 16B')
using first(score) group by place, method)
order by place;
