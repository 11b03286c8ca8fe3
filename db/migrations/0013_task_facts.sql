-- What guessing scores: where a task's chance level comes from, and what people say goes before what sources say.

alter table task add column chance_from varchar;
comment on column task.chance_from is 'Where the chance level comes from: samples (choices and right answers of its items) or benchmark (the registry of common tasks); null where the task or the source says it, or nobody.';

create table task_fact (
    task_id varchar not null,
    metric varchar,
    chance double,
    ceiling double,
    created_at timestamp not null
);
comment on table task_fact is 'What people say about tasks (astraios task): it goes before what sources say.';
comment on column task_fact.task_id is 'The task.';
comment on column task_fact.metric is 'The metric; null for all of the task''s of which more is better.';
comment on column task_fact.chance is 'Score of guessing, in the metric''s unit; null where that was not said.';
comment on column task_fact.ceiling is 'Best possible score; null where that was not said.';
comment on column task_fact.created_at is 'When, UTC.';

create table benchmark_quality (
    study_key varchar not null,
    task_id varchar not null,
    metric varchar not null,
    n_methods integer not null,
    n_params_small double,
    n_params_large double not null,
    n_pairs integer not null,
    decision_accuracy double,
    decisions json,
    signal double,
    noise double,
    noise_from varchar,
    signal_to_noise double,
    difference double not null,
    n_items double,
    n_needed double,
    seeds_needed double,
    power double,
    is_paired boolean not null,
    distance_from_chance double,
    is_best_metric boolean not null,
    groups json,
    decides boolean not null,
    words varchar not null,
    created_at timestamp not null
);
comment on table benchmark_quality is 'Whether a task and metric can tell methods apart in a study, as astraios benchmark-quality found it.';
comment on column benchmark_quality.study_key is 'The study.';
comment on column benchmark_quality.task_id is 'The task.';
comment on column benchmark_quality.metric is 'The metric.';
comment on column benchmark_quality.n_methods is 'Methods at the largest size.';
comment on column benchmark_quality.n_params_small is 'The size that decides: the largest but one.';
comment on column benchmark_quality.n_params_large is 'The largest size.';
comment on column benchmark_quality.n_pairs is 'Pairs of methods that both sizes have.';
comment on column benchmark_quality.decision_accuracy is 'Share of pairs in the order that they have at the largest size; ties half.';
comment on column benchmark_quality.decisions is 'The same from each smaller size: n_params, accuracy, n_pairs, a list.';
comment on column benchmark_quality.signal is 'Standard deviation between methods at the largest size, in the metric''s unit.';
comment on column benchmark_quality.noise is 'Standard deviation of one score that is repeated, in the metric''s unit.';
comment on column benchmark_quality.noise_from is 'What shows the noise: seeds, checkpoints, or items (the standard errors alone).';
comment on column benchmark_quality.signal_to_noise is 'signal over noise.';
comment on column benchmark_quality.difference is 'The difference that n_needed and power are about.';
comment on column benchmark_quality.n_items is 'Items that a score has.';
comment on column benchmark_quality.n_needed is 'Items that show the difference with 80 % power at a level of 5 %.';
comment on column benchmark_quality.seeds_needed is 'Runs a method that show it; null where noise is of items alone.';
comment on column benchmark_quality.power is 'Probability that the items there are show the difference.';
comment on column benchmark_quality.is_paired is 'Whether items were compared one by one (samples are there), which is sharper.';
comment on column benchmark_quality.distance_from_chance is 'Mean score at the smaller sizes less chance; null where that is unknown.';
comment on column benchmark_quality.is_best_metric is 'Whether no other metric of the task decides better.';
comment on column benchmark_quality.groups is 'Methods that can''t be told apart at the largest size (Holm''s correction), lists, best first.';
comment on column benchmark_quality.decides is 'Whether the task decides anything at the sizes at hand.';
comment on column benchmark_quality.words is 'Why, in a sentence.';
comment on column benchmark_quality.created_at is 'When, UTC.';

create table pass_curve (
    study_key varchar not null,
    task_id varchar not null,
    method_id varchar not null,
    n_params double not null,
    run_id varchar,
    k integer not null,
    value double not null,
    low double not null,
    high double not null,
    n_samples integer not null,
    n_problems integer not null,
    is_projected boolean not null,
    created_at timestamp not null
);
comment on table pass_curve is 'pass@k over k, of runs and projected to larger models, as astraios pass-at-k found it.';
comment on column pass_curve.study_key is 'The study.';
comment on column pass_curve.task_id is 'The task.';
comment on column pass_curve.method_id is 'The tuning method.';
comment on column pass_curve.n_params is 'Size of the base model.';
comment on column pass_curve.run_id is 'The run; null where none was of that size.';
comment on column pass_curve.k is 'Samples allowed a problem.';
comment on column pass_curve.value is 'Chance that one of k samples passes, mean over problems.';
comment on column pass_curve.low is 'Low end of the 90 % interval, over problems.';
comment on column pass_curve.high is 'High end.';
comment on column pass_curve.n_samples is 'Samples a problem that there are.';
comment on column pass_curve.n_problems is 'Problems.';
comment on column pass_curve.is_projected is 'Whether k is more than the samples there are, or the size was not run.';
comment on column pass_curve.created_at is 'When, UTC.';
