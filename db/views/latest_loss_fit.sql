create or replace view latest_loss_fit as
select f.fit_id, s.study_key, s.origin, s.ladder, s.dataset_id, f.method_id, f.created_at, f.split
from fit f
join fit_study s using (fit_id)
where f.role = 'target' and f.quantity = 'loss' and fit_id not in (select fit_id from void_fit)
    and f.created_at = (
        select max(n.created_at) from fit n join fit_study o using (fit_id)
        where o.study_key = s.study_key and n.role = 'target' and n.quantity = 'loss'
            and n.split is not distinct from f.split and n.fit_id not in (select fit_id from void_fit));
comment on view latest_loss_fit is 'The fits of the loss, a series each, that are the newest of their study and split.';
