-- Curves know their amount of data and their chance to be best; what could not be planned is written down.

alter table fit_curve add column n_tokens double;
alter table fit_curve add column p_best double;
comment on table fit_curve is 'A series'' projection over size, from its smallest run on; one for each amount of data, if any.';
comment on column fit_curve.n_tokens is 'Tokens along the line; null where the law takes size alone.';
comment on column fit_curve.p_best is 'Probability that the series is the best there; null where nothing is ranked.';

create table not_planned (
    study_key varchar not null,
    what varchar not null,
    series varchar,
    created_at timestamp,
    why varchar not null
);
comment on table not_planned is 'What the newest fit-scaling of a study could not plan, and why.';
comment on column not_planned.study_key is 'The study, as in the view study.';
comment on column not_planned.what is 'budgets, speed_up or next_run: the part of planning that is missing.';
comment on column not_planned.series is 'As in run_series; null where it is about all of them.';
comment on column not_planned.created_at is 'When, UTC.';
comment on column not_planned.why is 'In words.';
