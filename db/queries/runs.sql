-- Every run with its final test loss, its tags, and why it is left out where it is.
select r.run_id, r.origin, r.model_id, r.method_id, r.seed, r.n_params, l.loss_nats, t.tags, e.reason as excluded
from run r
left join final_loss l on l.run_id = r.run_id and l.split = 'test'
left join (select run_id, string_agg(tag, ', ' order by tag) as tags from run_tag group by run_id) t
    on t.run_id = r.run_id
left join excluded_run e on e.run_id = r.run_id
order by r.origin, r.n_params, r.method_id, r.seed, r.run_id;
