-- What each import made and what it replaced, so that it can be undone.

create table import_load (
    load_id varchar not null,
    format varchar not null,
    source varchar not null,
    loaded_at timestamp,
    created json not null,
    replaced json not null
);
comment on table import_load is 'Imports that changed something, each with what it takes to undo it (`astraios import --undo LOAD`).';
comment on column import_load.load_id is 'Number of the import in this database.';
comment on column import_load.format is 'The format that was read, for instance trainer.';
comment on column import_load.source is 'Name of the file or folder, without the way to it.';
comment on column import_load.loaded_at is 'When, UTC.';
comment on column import_load.created is 'Keys of the rows that were new, by table.';
comment on column import_load.replaced is 'Rows as they were before, by table.';
