-- What planning says before money is spent: the best use of budgets, isoFLOP lines, speed-ups, the next runs.

create table allocation (
    study_key varchar not null,
    series varchar not null,
    asked varchar not null,
    created_at timestamp,
    fit_id varchar,
    sharing varchar,
    level double,
    flops double,
    flops_low double,
    flops_high double,
    device_hours double,
    price double,
    n_params double,
    n_params_low double,
    n_params_high double,
    n_tokens double,
    n_tokens_low double,
    n_tokens_high double,
    flat_low double,
    flat_high double,
    loss double,
    loss_low double,
    loss_high double,
    new_low double,
    new_high double,
    exponent double,
    exponent_low double,
    exponent_high double,
    p_no_optimum double,
    p_unreachable double,
    task_id varchar,
    score double
);
comment on table allocation is 'The best size and amount of data for a budget, or the least budget for a loss or a score, by series.';
comment on column allocation.study_key is 'The study, as in the view study.';
comment on column allocation.series is 'What is planned for, as in run_series.';
comment on column allocation.asked is 'What was asked, for instance flops=1e+23; budgets: the row of budgets of fit-scaling.';
comment on column allocation.created_at is 'When, UTC.';
comment on column allocation.fit_id is 'Fit of the series whose laws say it.';
comment on column allocation.sharing is 'How size and data share the budget: chosen, or what is held, in words.';
comment on column allocation.level is 'Nominal coverage of the intervals.';
comment on column allocation.flops is 'The budget; null where the target is not reached.';
comment on column allocation.flops_low is 'Low end of the least budget.';
comment on column allocation.flops_high is 'High end; null where it is not bounded.';
comment on column allocation.device_hours is 'The same in device-hours, where a throughput is known or assumed.';
comment on column allocation.price is 'The same in money, where a price was given.';
comment on column allocation.n_params is 'Best size.';
comment on column allocation.n_params_low is 'Low end of its interval.';
comment on column allocation.n_params_high is 'High end of its interval.';
comment on column allocation.n_tokens is 'Best amount of data.';
comment on column allocation.n_tokens_low is 'Low end of its interval.';
comment on column allocation.n_tokens_high is 'High end of its interval.';
comment on column allocation.flat_low is 'Smallest size whose loss is within 0.2 % of the best.';
comment on column allocation.flat_high is 'Largest such size.';
comment on column allocation.loss is 'Projected loss.';
comment on column allocation.loss_low is 'Low end of the interval of its mean.';
comment on column allocation.loss_high is 'High end of the interval of its mean.';
comment on column allocation.new_low is 'Low end of the interval of a new run.';
comment on column allocation.new_high is 'High end of the interval of a new run.';
comment on column allocation.exponent is 'Of the best size in the budget, around it.';
comment on column allocation.exponent_low is 'Low end of its interval.';
comment on column allocation.exponent_high is 'High end of its interval.';
comment on column allocation.p_no_optimum is 'Share of the draws without a best size inside the range.';
comment on column allocation.p_unreachable is 'Share of the draws that never reach the target.';
comment on column allocation.task_id is 'Task of the score that was asked for.';
comment on column allocation.score is 'The score that was asked for.';

create table isoflop (
    study_key varchar not null,
    series varchar not null,
    fit_id varchar,
    flops double not null,
    n_params double not null,
    n_tokens double not null,
    loss double not null,
    is_best boolean not null
);
comment on table isoflop is 'Projected loss against size along lines of equal training FLOPs.';
comment on column isoflop.study_key is 'The study, as in the view study.';
comment on column isoflop.series is 'As in run_series.';
comment on column isoflop.fit_id is 'Fit of the series.';
comment on column isoflop.flops is 'Budget of the line.';
comment on column isoflop.n_params is 'Size.';
comment on column isoflop.n_tokens is 'What the budget leaves for data.';
comment on column isoflop.loss is 'Projected loss.';
comment on column isoflop.is_best is 'Whether this is the minimum of the line.';

create table speed_up (
    study_key varchar not null,
    series varchar not null,
    faster varchar not null,
    unit varchar not null,
    created_at timestamp,
    n_params double,
    n_tokens double,
    loss double,
    factor double,
    low double,
    high double,
    level double,
    separable boolean,
    p_unreachable double
);
comment on table speed_up is 'How much more of a unit one series needs to reach another''s loss at a target.';
comment on column speed_up.study_key is 'The study, as in the view study.';
comment on column speed_up.series is 'The series that is followed until it reaches the other''s loss.';
comment on column speed_up.faster is 'The series whose loss is reached.';
comment on column speed_up.unit is 'flops, tokens, seconds or money.';
comment on column speed_up.created_at is 'When, UTC.';
comment on column speed_up.n_params is 'Size of the target.';
comment on column speed_up.n_tokens is 'Data of the target.';
comment on column speed_up.loss is 'Projected loss of `faster` there.';
comment on column speed_up.factor is 'What `series` needs of the unit, as a multiple; null: it never gets there.';
comment on column speed_up.low is 'Low end of its interval.';
comment on column speed_up.high is 'High end; null where it is not bounded.';
comment on column speed_up.level is 'Nominal coverage of the interval.';
comment on column speed_up.separable is 'Whether the interval leaves 1 out.';
comment on column speed_up.p_unreachable is 'Share of the draws in which `series` never gets there.';

create table next_run (
    study_key varchar not null,
    place integer not null,
    series varchar not null,
    created_at timestamp,
    n_params double not null,
    target double not null,
    device_hours double not null,
    cost_source varchar not null,
    gain double not null,
    width_after double not null
);
comment on table next_run is 'Runs that would take most uncertainty from a target a device-hour, in the order in which to do them.';
comment on column next_run.study_key is 'The study, as in the view study.';
comment on column next_run.place is '1 is the first to do.';
comment on column next_run.series is 'As in run_series.';
comment on column next_run.created_at is 'When, UTC.';
comment on column next_run.n_params is 'Its size.';
comment on column next_run.target is 'The size that matters.';
comment on column next_run.device_hours is 'What it would take.';
comment on column next_run.cost_source is 'Where that comes from: measured, or the FLOPs model.';
comment on column next_run.gain is 'Expected fall of the mean variance of the target''s losses, of the rest.';
comment on column next_run.width_after is 'Standard deviation of the target''s losses after it, relative to them.';
