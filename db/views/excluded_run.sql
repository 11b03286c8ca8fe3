create or replace view excluded_run as
select run_id, reason, author, created_at
from (
    from curation
    where action in ('exclude', 'include')
    qualify row_number() over (partition by run_id order by created_at desc, action) = 1
)
where action = 'exclude';
comment on view excluded_run is 'Runs that no analysis counts, and why: latest_attempt leaves them out, and with it every view that reads it.';
