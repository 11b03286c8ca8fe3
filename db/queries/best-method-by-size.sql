-- The tuning method with the lowest final test loss at each size, and its lead over the next one.
select origin, ladder, n_params, method_id, loss_nats, runner_up, lead_nats
from (
    select *, lead(method_id) over by_loss as runner_up, lead(loss_nats) over by_loss - loss_nats as lead_nats,
        row_number() over by_loss as place
    from method_size_grid
    where split = 'test'
    window by_loss as (partition by origin, ladder, dataset_id, n_params order by loss_nats, method_id)
)
where place = 1
order by origin, ladder, n_params;
