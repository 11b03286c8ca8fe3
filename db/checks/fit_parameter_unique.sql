-- No row of fit_parameter stands twice.
select fit_id, name, count(*) as n from fit_parameter group by all having count(*) > 1
