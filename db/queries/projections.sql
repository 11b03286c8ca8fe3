-- The newest projected losses with their intervals, the likeliest best method first at each size.
select origin, ladder, n_params, method_id, mean, low, high, new_low, new_high, level, p_best
from latest_projection
where role = 'target' and quantity = 'loss'
order by origin, ladder, n_params, p_best desc nulls last, method_id;
