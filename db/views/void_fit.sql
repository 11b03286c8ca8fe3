create or replace view void_fit as
select p.fit_id, string_agg(distinct p.run_id, ', ' order by p.run_id) as run_ids
from fit_point p
join excluded_run e using (run_id)
group by p.fit_id;
comment on view void_fit is 'Fits that rest on a run that has been excluded since, with those runs; the views of projections and backtests leave them out.';
comment on column void_fit.run_ids is 'The excluded runs, with commas.';
