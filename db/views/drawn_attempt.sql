create or replace view drawn_attempt as
select *
from attempt
where state in ('done', 'running', 'interrupted') and run_id not in (select run_id from excluded_run)
qualify row_number() over (partition by run_id order by (state = 'done', attempt) desc) = 1;
comment on view drawn_attempt is 'The attempt of each run whose curves are drawn: its last finished one, else the one that is being logged. Analyses read latest_attempt.';
