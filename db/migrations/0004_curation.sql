-- What people say about runs: tags, and exclusions with their reasons. Nothing is ever deleted from it; the last word on
-- a run (and a tag) counts.

create table curation (
    run_id varchar not null,
    action varchar not null,
    tag varchar,
    reason varchar,
    author varchar,
    created_at timestamp not null
);
comment on table curation is 'Tags and exclusions of runs, in the order in which they were said; nothing is ever deleted.';
comment on column curation.run_id is 'The run.';
comment on column curation.action is 'tag, untag, exclude or include.';
comment on column curation.tag is 'The tag, for tag and untag.';
comment on column curation.reason is 'Why; always there for exclude.';
comment on column curation.author is 'Who said so, if they gave a name.';
comment on column curation.created_at is 'When, UTC.';
