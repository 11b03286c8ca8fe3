-- Every parameter, point, draw, curve, projection and backtest belongs to a fit.
select 'fit_parameter' as table_name, fit_id from fit_parameter anti join fit using (fit_id)
union all select 'fit_point', fit_id from fit_point anti join fit using (fit_id)
union all select 'fit_draw', fit_id from fit_draw anti join fit using (fit_id)
union all select 'fit_curve', fit_id from fit_curve anti join fit using (fit_id)
union all select 'projection', fit_id from projection anti join fit using (fit_id)
union all select 'backtest', fit_id from backtest anti join fit using (fit_id)
