create or replace view latest_backtest as
select s.study_key, s.origin, s.ladder, s.dataset_id, f.created_at, f.split, b.*
from backtest b
left join fit f using (fit_id)
left join fit_study s using (fit_id)
where fit_id not in (select fit_id from void_fit)
qualify row_number() over (
    partition by s.study_key, f.split, b.quantity, b.method_id, b.task_id, b.metric,
        b.n_params, b.n_tokens
    order by f.created_at desc nulls last, b.fit_id) = 1;
comment on view latest_backtest is 'For each method, quantity and hidden size the backtest of the newest fit, with the study it belongs to.';
