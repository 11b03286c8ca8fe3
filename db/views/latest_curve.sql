create or replace view latest_curve as
select f.study_key, f.origin, f.ladder, f.dataset_id, f.method_id, f.created_at, f.split, c.*
from fit_curve c
join latest_loss_fit f using (fit_id);
comment on view latest_curve is 'The projection over size of each series, of the newest fit of its study and split.';
