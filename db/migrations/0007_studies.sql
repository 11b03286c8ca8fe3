-- What may be compared: the evaluation split by its text, and the study and the axes that a fit used.

alter table dataset add column eval_hash varchar;
comment on column dataset.eval_hash is 'SHA-256 over the evaluation split, as it is read: data sets that share it are compared on the same text. Null where it is not known.';
alter table fit add column study_key varchar;
comment on column fit.study_key is 'The study that the fit used (view study); several with commas where they were joined. Null for fits made before studies existed.';
alter table fit add column axes json;
comment on column fit.axes is 'Axes of the study with their roles and values, as JSON.';
alter table fit add column query_hash varchar;
comment on column fit.query_hash is 'SHA-256 over the rows that data_sql gave; the fit is stale when they are others now.';
