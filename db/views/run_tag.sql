create or replace view run_tag as
select run_id, tag, reason, author, created_at
from (
    from curation
    where action in ('tag', 'untag')
    qualify row_number() over (partition by run_id, tag order by created_at desc, action) = 1
)
where action = 'tag';
comment on view run_tag is 'Tags that runs bear now.';
