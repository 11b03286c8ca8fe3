-- The final loss kept at ingest is the one in the points.
select s.run_id, s.attempt, s.split, s.last_loss, p.loss_nats
from loss_summary s
join loss_point p on p.run_id = s.run_id and p.attempt = s.attempt and p.split = s.split and p.step = s.last_step
where p.loss_nats is distinct from s.last_loss
