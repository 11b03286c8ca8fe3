-- Which commits of the hub came: names like "main" mean another content tomorrow.

alter table run add column base_revision varchar;
comment on column run.base_revision is 'The base model that was loaded: its commit on the hub, or a hash of the recipe or the files of one that is not from there. Null where nobody could tell.';
alter table run add column data_revision varchar;
comment on column run.data_revision is 'The commit on the hub that the data came from; null for data from elsewhere.';
alter table evaluation add column gold_revision varchar;
comment on column evaluation.gold_revision is 'The commit on the hub that the gold data came from; null for those from elsewhere.';
