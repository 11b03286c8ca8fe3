create or replace view integrity as
select r.run_id, a.attempt, a.state, a.directory, a.content_hash,
    (select count(*) from loss_point p where p.run_id = r.run_id and p.attempt = a.attempt) as n_loss_points,
    (select count(*) from score s where s.run_id = r.run_id and s.attempt = a.attempt) as n_scores
from run r
left join attempt a using (run_id);
comment on view integrity is 'Each run with its attempts and how many rows they brought.';
comment on column integrity.n_loss_points is 'Losses of the attempt.';
comment on column integrity.n_scores is 'Scores of the attempt.';
