-- The paper's table 1: trainable parameters of each tuning method by size of the base model.
select * exclude (place)
from (pivot (
    select t.kind as type, t.title as name, format('{:,}', r.n_trainable) as n_trainable,
        case r.n_params when 1137207296 then '1B' when 3043311104 then '3B' when 7327263232 then '7B' else '16B' end as size,
        list_position(['lora', 'ptuning', 'ia3', 'adapterh', 'adapterp', 'parallel', 'fft'], r.method_id) as place
    from run r
    join tuning_method t using (method_id)
    where r.origin = 'published'
) on size in ('1B', '3B', '7B', '16B')
using first(n_trainable) group by place, type, name)
order by place;
