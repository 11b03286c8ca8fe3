-- A projection of pass@k that is mainly ignorance says so.

alter table pass_curve add column warning varchar;
comment on column pass_curve.warning is 'Code of what a reader should know; null where there is nothing (unsolved_unknown: over half of the interval is what the samples leave open).';
