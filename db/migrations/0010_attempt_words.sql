-- One word a thing: an execution of a run is an attempt.

comment on table attempt is 'What happened: each attempt at a run, with its cost and its end.';
comment on column attempt.attempt is 'Number of the attempt, from 1. One that is resumed keeps its number.';
comment on column loss_point.attempt is 'The attempt.';
comment on column loss_summary.attempt is 'The attempt.';
comment on column evaluation.attempt is 'The attempt.';
comment on column score.attempt is 'The attempt.';
comment on column sample_score.attempt is 'The attempt.';
comment on column score_point.attempt is 'The attempt.';
comment on column metric_point.attempt is 'The attempt.';
