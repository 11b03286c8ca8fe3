-- Correlation of trainable parameters and mean task score, published: printed, and with the contradicted cells rescored.
with cell as (
    select s.run_id, s.n_trainable::double as n_trainable, s.value as printed, coalesce(c.rescored, s.value) as rescored
    from final_score s
    left join contradicted_score c using (run_id, task_id, metric)
    where s.origin = 'published' and s.ladder = 'starcoderbase' and s.is_main_metric
        and (s.task_id in ('devign', 'bigclonebench') or s.task_id like 'humaneval%')
),
mean as (
    select run_id, n_trainable, unnest(['printed', 'rescored']) as scores, unnest([avg(printed), avg(rescored)]) as score
    from cell
    group by run_id, n_trainable
),
ranked as (
    select *, rank() over (partition by scores order by n_trainable) as rank_n,
        rank() over (partition by scores order by score) as rank_score
    from mean
),
pairs as (
    select a.scores, avg(sign(a.n_trainable - b.n_trainable) * sign(a.score - b.score)) as kendall
    from mean a
    join mean b on a.scores = b.scores and a.run_id < b.run_id
    group by a.scores
)
select scores, printf('%.4f', any_value(kendall)) as kendall, printf('%.4f', corr(n_trainable, score)) as pearson,
    printf('%.4f', corr(rank_n, rank_score)) as spearman
from ranked
join pairs using (scores)
group by scores
order by scores;
