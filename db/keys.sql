-- Unique indexes for local database files. The long tables have none: the loader replaces a whole attempt in one
-- transaction, and checks prove uniqueness (an index on them costs about ten times the insert time).
create unique index if not exists base_model_key on base_model (model_id);
create unique index if not exists tuning_method_key on tuning_method (method_id);
create unique index if not exists dataset_key on dataset (dataset_id);
create unique index if not exists sweep_key on sweep (sweep_id);
create unique index if not exists environment_key on environment (environment_id);
create unique index if not exists run_key on run (run_id);
create unique index if not exists attempt_key on attempt (run_id, attempt);
create unique index if not exists task_key on task (task_id);
create unique index if not exists fit_key on fit (fit_id);
