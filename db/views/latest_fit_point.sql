create or replace view latest_fit_point as
select f.study_key, f.origin, f.ladder, f.dataset_id, f.method_id, f.created_at, f.split, p.*
from fit_point p
join latest_loss_fit f using (fit_id)
where p.weight > 0;
comment on view latest_fit_point is 'The points that the newest fit of each study and split rests on, with what it says about them.';
