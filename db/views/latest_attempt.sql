create or replace view latest_attempt as
select *
from attempt
where state = 'done'
qualify row_number() over (partition by run_id order by attempt desc) = 1;
comment on view latest_attempt is 'The last finished attempt of each run: what every analysis reads.';
