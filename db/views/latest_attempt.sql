create or replace view latest_attempt as
select *
from attempt
where state = 'done' and run_id not in (select run_id from excluded_run)
qualify row_number() over (partition by run_id order by attempt desc) = 1;
comment on view latest_attempt is 'The last finished attempt of each run that is not excluded: what every analysis reads.';
