create or replace view calibration as
select
    quantity, law, level as nominal, avg(covered::int) as achieved, count(*) as n,
    avg(relative_error) as mean_relative_error, avg(carry_forward_error) as carry_forward_error,
    avg(new_high - new_low) as mean_width
from backtest
where covered is not null and fit_id not in (select fit_id from void_fit)
group by all;
comment on view calibration is 'Backtests: coverage of the intervals, nominal against achieved, and mean error.';
comment on column calibration.achieved is 'Share of hidden observations that lay in the interval of a new run.';
comment on column calibration.mean_relative_error is 'Mean of relative_error.';
comment on column calibration.mean_width is 'Mean width of the interval of a new run.';
comment on column calibration.n is 'Backtests.';
comment on column calibration.nominal is 'Coverage that the intervals promise.';
