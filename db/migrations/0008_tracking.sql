-- What a training tells as it goes on, beside its losses: learning rates, scores along training, and other metrics.

alter table loss_point add column learning_rate double;
comment on column loss_point.learning_rate is 'Learning rate at that step, as the trainer tells it; null where it does not.';

create table score_point (
    run_id varchar not null,
    attempt integer not null,
    load_key bigint,
    task_id varchar not null,
    metric varchar not null,
    step integer not null,
    value double not null,
    n_tokens bigint,
    device_seconds double,
    stderr double,
    n integer
);
comment on table score_point is 'Scores along training, long: rewards and pass rates of RL, scores of checkpoints.';
comment on column score_point.run_id is 'The run.';
comment on column score_point.attempt is 'The try.';
comment on column score_point.load_key is 'As in attempt; queries of single runs are quick through it.';
comment on column score_point.task_id is 'The task, or the reward.';
comment on column score_point.metric is 'For instance accuracy, pass@1, mean (of a reward).';
comment on column score_point.step is 'Optimizer steps done.';
comment on column score_point.value is 'Point estimate; a fraction where the metric is one.';
comment on column score_point.n_tokens is 'Tokens trained on so far.';
comment on column score_point.device_seconds is 'Seconds of the attempt so far, times the number of devices.';
comment on column score_point.stderr is 'Standard error over items.';
comment on column score_point.n is 'Items or completions behind the value.';

create table metric_point (
    run_id varchar not null,
    attempt integer not null,
    load_key bigint,
    name varchar not null,
    step integer not null,
    n_tokens bigint,
    value double not null
);
comment on table metric_point is 'What else a training logged, long: gradient norms, lengths, throughput, under the names that it was given.';
comment on column metric_point.run_id is 'The run.';
comment on column metric_point.attempt is 'The try.';
comment on column metric_point.load_key is 'As in attempt; queries of single runs are quick through it.';
comment on column metric_point.name is 'As it was logged.';
comment on column metric_point.step is 'Optimizer steps done.';
comment on column metric_point.n_tokens is 'Tokens trained on so far.';
comment on column metric_point.value is 'The number.';

comment on column run.origin is 'measured (run by astraios), live (logged by astraios.init while it trained), imported (by another tool) or published (printed in a paper).';
comment on column attempt.state is 'done or failed; running or interrupted for a logged run that has no end yet.';
