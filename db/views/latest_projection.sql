create or replace view latest_projection as
select s.study_key, s.origin, s.ladder, s.dataset_id, f.created_at, f.law, f.split, f.n_points, p.*
from projection p
left join fit f using (fit_id)
left join fit_study s using (fit_id)
where fit_id not in (select fit_id from void_fit)
qualify row_number() over (
    partition by s.study_key, f.split, p.role, p.quantity, p.method_id, p.task_id, p.metric,
        p.n_params, p.n_tokens
    order by f.created_at desc nulls last, p.fit_id) = 1;
comment on view latest_projection is 'For each method, quantity and size the projection of the newest fit, with the study it belongs to.';
