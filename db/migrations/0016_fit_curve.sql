-- The projection over size, so that a chart draws a curve with its ribbons and not a broken line.

create table fit_curve (
    fit_id varchar not null,
    n_params double not null,
    mean double not null,
    low double not null,
    high double not null,
    new_low double not null,
    new_high double not null,
    level double not null
);
comment on table fit_curve is 'The projection of a series over size, from its smallest run to the largest target, for drawing.';
comment on column fit_curve.fit_id is 'The fit.';
comment on column fit_curve.n_params is 'Total parameters.';
comment on column fit_curve.mean is 'Projected loss.';
comment on column fit_curve.low is 'Low end of the interval of the mean.';
comment on column fit_curve.high is 'High end of the interval of the mean.';
comment on column fit_curve.new_low is 'Low end of the interval of one new run.';
comment on column fit_curve.new_high is 'High end of the interval of one new run.';
comment on column fit_curve.level is 'Nominal coverage.';
