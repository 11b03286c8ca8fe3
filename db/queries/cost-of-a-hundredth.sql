-- At each size: what the best run on the cost frontier cost, and the cheapest run within a hundredth of its loss.
with best as (
    select origin, ladder, n_params, method_id, loss_nats, device_seconds
    from cost_frontier
    where split = 'test'
    qualify row_number() over (partition by origin, ladder, n_params order by loss_nats, run_id) = 1
)
select b.origin, b.ladder, b.n_params, b.method_id as best, b.loss_nats, b.device_seconds,
    c.method_id as cheap, c.loss_nats as cheap_loss, c.device_seconds as cheap_seconds
from best b
join cost_frontier c on c.origin = b.origin and c.ladder is not distinct from b.ladder and c.n_params = b.n_params
    and c.split = 'test' and c.loss_nats <= 1.01 * b.loss_nats
qualify row_number() over (
    partition by b.origin, b.ladder, b.n_params order by c.device_seconds nulls last, c.loss_nats, c.run_id) = 1
order by b.origin, b.ladder, b.n_params;
