-- The paper's table 8: correlations between final loss and mean task score, with p-values.
select * exclude (place)
from (pivot (
    select case c.n_params when 1137207296 then '1B' when 3043311104 then '3B' when 7327263232 then '7B'
            when 15517456384 then '16B' else 'Overall' end as "model size",
        regexp_replace(printf('%.4f', c.value), '0\.', '.')
            || coalesce(' (' || regexp_replace(printf('%.2f', c.p_value), '0\.', '.') || ')', '') as coefficient,
        if(c.x = 'train_loss', 'Train ', 'Test ') || c.coefficient as head,
        coalesce(c.n_params, 1e12) as place
    from correlation c
    where c.origin = 'published' and c.source like '%table 8' and c.x in ('train_loss', 'test_loss') and c.y = 'mean_score'
) on head in ('Train kendall', 'Train pearson', 'Train spearman', 'Test kendall', 'Test pearson', 'Test spearman')
using first(coefficient) group by place, "model size")
order by place;
