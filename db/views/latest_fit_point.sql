create or replace view latest_fit_point as
select s.study_key, s.origin, s.ladder, s.dataset_id, f.method_id, f.created_at, f.split, p.*
from fit_point p
join fit f using (fit_id)
join fit_study s using (fit_id)
where f.role = 'target' and f.quantity = 'loss' and p.weight > 0 and fit_id not in (select fit_id from void_fit)
    and f.created_at = (
        select max(n.created_at) from fit n join fit_study o using (fit_id)
        where o.study_key = s.study_key and n.role = 'target' and n.quantity = 'loss'
            and n.split is not distinct from f.split and n.fit_id not in (select fit_id from void_fit));
comment on view latest_fit_point is 'The points that the newest fit of each study and split rests on, with what it says about them.';
