-- Ranking of the published methods at 1B by mean task score, per cent: printed, and with the contradicted cells rescored.
with cell as (
    select s.method_id, s.n_params, s.task_id, s.value as printed, coalesce(c.rescored, s.value) as rescored
    from final_score s
    left join contradicted_score c using (run_id, task_id, metric)
    where s.origin = 'published' and s.ladder = 'starcoderbase' and s.is_main_metric
        and (s.task_id in ('devign', 'bigclonebench') or s.task_id like 'humaneval%')
),
mean as (
    select method_id, avg(printed) as printed, avg(rescored) as rescored
    from cell
    where n_params = (select min(n_params) from cell)
    group by method_id
)
select t.title as method, printf('%.3f', 100 * printed) as printed, rank() over (order by printed desc) as place,
    printf('%.3f', 100 * rescored) as rescored, rank() over (order by rescored desc) as "place, rescored"
from mean
join tuning_method t using (method_id)
order by mean.rescored desc;
