-- The first schema. Portable DDL: NOT NULL is the only constraint (checks/*.sql do the rest, keys.sql adds
-- unique indexes to local files), so that the same tables can live in a file or in a shared catalogue.

create table base_model (
    model_id varchar not null,
    ladder varchar,
    revision varchar,
    architecture varchar,
    n_params bigint not null,
    n_params_nonembedding bigint,
    settings json
);
comment on table base_model is 'A pretrained model that tuning starts from: one rung of a ladder of sizes.';
comment on column base_model.model_id is 'Hub id, or ladder/name for a ladder that astraios builds itself.';
comment on column base_model.ladder is 'The family of sizes that it belongs to, for instance starcoderbase or tiny.';
comment on column base_model.revision is 'Hub revision, or a hash of the recipe and data of a base that was built here.';
comment on column base_model.architecture is 'Architecture class, for instance GPTBigCodeForCausalLM.';
comment on column base_model.n_params is 'Total parameters, embeddings included.';
comment on column base_model.n_params_nonembedding is 'Parameters without token and position embeddings.';
comment on column base_model.settings is 'Geometry and pretraining recipe, as JSON.';

create table tuning_method (
    method_id varchar not null,
    title varchar not null,
    kind varchar not null,
    citation varchar
);
comment on table tuning_method is 'A way of adapting a base model to data.';
comment on column tuning_method.method_id is 'Short name: fft, lora, ptuning, ia3, adapterh, adapterp, parallel, ...';
comment on column tuning_method.title is 'Name as printed in charts and tables.';
comment on column tuning_method.kind is 'full, low-rank, prompt, adapter, scaling or other.';
comment on column tuning_method.citation is 'The paper that proposed it.';

create table dataset (
    dataset_id varchar not null,
    name varchar not null,
    hash varchar not null,
    n_train_tokens bigint,
    n_test_tokens bigint,
    bytes_per_token double,
    settings json
);
comment on table dataset is 'Instruction data as it was tokenized and packed for one tokenizer.';
comment on column dataset.dataset_id is 'Name, @ and the beginning of the hash.';
comment on column dataset.name is 'Name of the source: a built-in one, a hub id or a file name.';
comment on column dataset.hash is 'SHA-256 over the records of all splits.';
comment on column dataset.n_train_tokens is 'Tokens of the training split, packed.';
comment on column dataset.n_test_tokens is 'Tokens of the fixed test set.';
comment on column dataset.bytes_per_token is 'UTF-8 bytes a token in the test set: turns nats a token into bits a byte.';
comment on column dataset.settings is 'Prompt format, sequence length, sources and versions, as JSON.';

create table sweep (
    sweep_id varchar not null,
    name varchar not null,
    settings json,
    created_at timestamp
);
comment on table sweep is 'A request for a grid of runs: base models x tuning methods x data x seeds.';
comment on column sweep.sweep_id is 'Name, @ and the beginning of the hash of its settings.';
comment on column sweep.name is 'Name given in the sweep file.';
comment on column sweep.settings is 'The sweep as it was understood, defaults filled in, as JSON.';
comment on column sweep.created_at is 'When it was first ingested, UTC.';

create table environment (
    environment_id varchar not null,
    python varchar,
    platform varchar,
    device varchar,
    packages json
);
comment on table environment is 'Software and hardware that an attempt ran on; no host name, no path, no token.';
comment on column environment.environment_id is 'Hash of the other columns.';
comment on column environment.python is 'Version of the interpreter.';
comment on column environment.platform is 'Operating system and processor architecture.';
comment on column environment.device is 'Name of the accelerator, or cpu.';
comment on column environment.packages is 'Versions of the packages that can change a number, as JSON.';

create table run (
    run_id varchar not null,
    sweep_id varchar,
    origin varchar not null,
    model_id varchar not null,
    method_id varchar not null,
    dataset_id varchar,
    seed bigint,
    n_params bigint not null,
    n_params_nonembedding bigint,
    n_trainable bigint,
    n_tokens bigint,
    steps integer,
    tokens_per_step bigint,
    train_flops double,
    learning_rate double,
    bytes_per_token double,
    settings json,
    created_at timestamp
);
comment on table run is 'What was asked: one base model, tuning method, data set and seed. The same request is the same run.';
comment on column run.run_id is 'Hash of the canonical configuration, the seed, the data and the base model''s revision.';
comment on column run.sweep_id is 'The sweep that asked first.';
comment on column run.origin is 'measured (run by astraios), imported (by another tool) or published (printed in a paper).';
comment on column run.model_id is 'The base model.';
comment on column run.method_id is 'The tuning method.';
comment on column run.dataset_id is 'The data.';
comment on column run.seed is 'Seed of initialisation, order of data and dropout.';
comment on column run.n_params is 'Total parameters of the base model.';
comment on column run.n_params_nonembedding is 'Parameters of the base model without embeddings.';
comment on column run.n_trainable is 'Parameters that the tuning method trains.';
comment on column run.n_tokens is 'Tokens trained on in all.';
comment on column run.steps is 'Optimizer steps (global steps) in all.';
comment on column run.tokens_per_step is 'Tokens in one global batch.';
comment on column run.train_flops is 'Estimated floating-point operations of training.';
comment on column run.learning_rate is 'Peak learning rate.';
comment on column run.bytes_per_token is 'UTF-8 bytes a token in the test set.';
comment on column run.settings is 'The whole configuration of the run, as JSON.';
comment on column run.created_at is 'When it was first planned, UTC.';

create table attempt (
    run_id varchar not null,
    attempt integer not null,
    state varchar not null,
    started_at timestamp,
    finished_at timestamp,
    wall_seconds double,
    device_seconds double,
    tokens_per_second double,
    peak_memory_bytes bigint,
    checkpoint_bytes bigint,
    price double,
    error varchar,
    environment_id varchar,
    directory varchar,
    content_hash varchar
);
comment on table attempt is 'What happened: each try at a run, with its cost and its end.';
comment on column attempt.run_id is 'The run.';
comment on column attempt.attempt is 'Number of the try, from 1. A resumed try keeps its number.';
comment on column attempt.state is 'done or failed.';
comment on column attempt.started_at is 'Start, UTC.';
comment on column attempt.finished_at is 'End, UTC.';
comment on column attempt.wall_seconds is 'Seconds of training and evaluation, interruptions left out.';
comment on column attempt.device_seconds is 'Seconds of training times the number of devices.';
comment on column attempt.tokens_per_second is 'Training throughput.';
comment on column attempt.peak_memory_bytes is 'Peak memory of the device, or of the process on a CPU.';
comment on column attempt.checkpoint_bytes is 'Size of what was kept of the tuned model.';
comment on column attempt.price is 'Money, where the sweep gives a price per device-hour.';
comment on column attempt.error is 'Why it failed, in one line.';
comment on column attempt.environment_id is 'Software and hardware.';
comment on column attempt.directory is 'Name of the run directory under the collection''s folder.';
comment on column attempt.content_hash is 'Hash over the manifest of the run directory; an attempt is replaced only when it changes.';

create table loss_point (
    run_id varchar not null,
    attempt integer not null,
    split varchar not null,
    step integer not null,
    n_tokens bigint,
    loss_nats double not null,
    regularizer double
);
comment on table loss_point is 'Cross-entropy loss over training, long.';
comment on column loss_point.run_id is 'The run.';
comment on column loss_point.attempt is 'The try.';
comment on column loss_point.split is 'test and train: evaluations on fixed sets; batch: the loss of a training step.';
comment on column loss_point.step is 'Optimizer steps done (global step); 0 is before tuning.';
comment on column loss_point.n_tokens is 'Tokens trained on so far.';
comment on column loss_point.loss_nats is 'Mean cross-entropy a token, nats, from the logits alone.';
comment on column loss_point.regularizer is 'Whatever the method adds to its training loss (AdaLoRA''s orthogonality term), kept apart.';

create table loss_summary (
    run_id varchar not null,
    attempt integer not null,
    split varchar not null,
    n_points integer not null,
    last_step integer not null,
    last_loss double not null,
    min_loss double not null,
    mean_last5_loss double not null
);
comment on table loss_summary is 'Final losses, worked out at ingest so that they need no scan of loss_point.';
comment on column loss_summary.run_id is 'The run.';
comment on column loss_summary.attempt is 'The try.';
comment on column loss_summary.split is 'As in loss_point.';
comment on column loss_summary.n_points is 'Evaluations.';
comment on column loss_summary.last_step is 'Step of the last one.';
comment on column loss_summary.last_loss is 'Loss at the last evaluation, nats: the definition "last".';
comment on column loss_summary.min_loss is 'Smallest loss, nats: the definition "min".';
comment on column loss_summary.mean_last5_loss is 'Mean over the last five evaluations, nats: the definition "mean_last5".';

create table task (
    task_id varchar not null,
    title varchar not null,
    kind varchar not null,
    metric varchar not null,
    chance double,
    ceiling double,
    higher_is_better boolean not null,
    citation varchar
);
comment on table task is 'Something that a tuned model is scored on.';
comment on column task.task_id is 'Short name, for instance devign or humanevalfix-java.';
comment on column task.title is 'Name as printed in charts and tables.';
comment on column task.kind is 'comprehension, generation, robustness, security or likelihood.';
comment on column task.metric is 'The metric that charts and fits use first.';
comment on column task.chance is 'Score of guessing, a fraction; null where there is none.';
comment on column task.ceiling is 'Best possible score, a fraction; null reads as 1.';
comment on column task.higher_is_better is 'Direction of the metric.';
comment on column task.citation is 'Source of the task.';

create table evaluation (
    run_id varchar not null,
    attempt integer not null,
    task_id varchar not null,
    n_shot integer not null,
    n_items integer,
    isolation varchar,
    wall_seconds double,
    settings json
);
comment on table evaluation is 'One task evaluated on one attempt: how it was done.';
comment on column evaluation.run_id is 'The run.';
comment on column evaluation.attempt is 'The try.';
comment on column evaluation.task_id is 'The task.';
comment on column evaluation.n_shot is 'Demonstrations in the prompt.';
comment on column evaluation.n_items is 'Items evaluated.';
comment on column evaluation.isolation is 'Isolation level at which generated programs ran; null where none were run.';
comment on column evaluation.wall_seconds is 'Seconds.';
comment on column evaluation.settings is 'Temperature, samples, language level, hash of the gold data, as JSON.';

create table score (
    run_id varchar not null,
    attempt integer not null,
    task_id varchar not null,
    n_shot integer not null,
    metric varchar not null,
    value double,
    stderr double,
    ci_low double,
    ci_high double,
    n integer,
    n_failed integer
);
comment on table score is 'Scores, long: one metric of one task on one attempt. Fractions, never per cent.';
comment on column score.run_id is 'The run.';
comment on column score.attempt is 'The try.';
comment on column score.task_id is 'The task.';
comment on column score.n_shot is 'Demonstrations in the prompt.';
comment on column score.metric is 'For instance accuracy, f1_macro, pass@1.';
comment on column score.value is 'Point estimate.';
comment on column score.stderr is 'Standard error over items (clusters where items share a source).';
comment on column score.ci_low is 'Low end of the 95 % interval.';
comment on column score.ci_high is 'High end of the 95 % interval.';
comment on column score.n is 'Independent items (or clusters) behind the value.';
comment on column score.n_failed is 'Items that could not be judged and count as wrong.';

create table sample_score (
    run_id varchar not null,
    attempt integer not null,
    task_id varchar not null,
    n_shot integer not null,
    item_id varchar not null,
    sample integer not null,
    value double,
    verdict varchar
);
comment on table sample_score is 'Scores of single samples, long.';
comment on column sample_score.run_id is 'The run.';
comment on column sample_score.attempt is 'The try.';
comment on column sample_score.task_id is 'The task.';
comment on column sample_score.n_shot is 'Demonstrations in the prompt.';
comment on column sample_score.item_id is 'Item of the task.';
comment on column sample_score.sample is 'Number of the sample of that item, from 0.';
comment on column sample_score.value is 'Score of the sample, for instance 1 for passed.';
comment on column sample_score.verdict is 'passed, failed, timeout, invalid, ... or the margin''s sign for likelihood tasks.';

create table fit (
    fit_id varchar not null,
    created_at timestamp,
    role varchar not null,
    quantity varchar not null,
    method_id varchar,
    task_id varchar,
    metric varchar,
    law varchar not null,
    estimator varchar not null,
    loss_definition varchar,
    split varchar,
    level double,
    seed bigint,
    objective double,
    n_points integer,
    data_hash varchar,
    data_sql varchar,
    certificate json,
    warnings json,
    packages json
);
comment on table fit is 'One fitted law or link, with all that is needed to derive it again.';
comment on column fit.fit_id is 'Hash of data, law, estimator, level and seed.';
comment on column fit.created_at is 'When it was fitted, UTC.';
comment on column fit.role is 'target (all sizes used) or backtest (the largest hidden).';
comment on column fit.quantity is 'loss, or score (a link from loss to score).';
comment on column fit.method_id is 'Tuning method, or null for a fit over all.';
comment on column fit.task_id is 'Task, for a link.';
comment on column fit.metric is 'Metric, for a link.';
comment on column fit.law is 'Name of the law or link; an average of several is named auto.';
comment on column fit.estimator is 'huber, huber_1e-3, least_squares, binomial, ...';
comment on column fit.loss_definition is 'Which final loss: last, min or mean_last5.';
comment on column fit.split is 'Split of the loss.';
comment on column fit.level is 'Nominal coverage of the intervals.';
comment on column fit.seed is 'Seed of the resampling.';
comment on column fit.objective is 'Value of the objective at the optimum.';
comment on column fit.n_points is 'Observations used.';
comment on column fit.data_hash is 'Hash of the observations used.';
comment on column fit.data_sql is 'The query that selected them.';
comment on column fit.certificate is 'Convergence, share of agreeing starts, relative gradient norm, as JSON.';
comment on column fit.warnings is 'Warnings with their codes, as JSON.';
comment on column fit.packages is 'Versions of the packages that took part, as JSON.';

create table fit_parameter (
    fit_id varchar not null,
    name varchar not null,
    value double,
    low double,
    high double,
    at_bound boolean
);
comment on table fit_parameter is 'Estimated parameters of a fit.';
comment on column fit_parameter.fit_id is 'The fit.';
comment on column fit_parameter.name is 'Name of the parameter in the law.';
comment on column fit_parameter.value is 'Estimate.';
comment on column fit_parameter.low is 'Low end of its interval at the fit''s level.';
comment on column fit_parameter.high is 'High end of its interval.';
comment on column fit_parameter.at_bound is 'Whether the estimate lies at a bound of the law.';

create table fit_point (
    fit_id varchar not null,
    run_id varchar,
    n_params double,
    n_tokens double,
    observed double,
    fitted double,
    weight double,
    held_out boolean
);
comment on table fit_point is 'Observations of a fit with its fitted values.';
comment on column fit_point.fit_id is 'The fit.';
comment on column fit_point.run_id is 'The run, where there is one.';
comment on column fit_point.n_params is 'Total parameters.';
comment on column fit_point.n_tokens is 'Tokens, where the law uses them.';
comment on column fit_point.observed is 'Observed loss (nats) or score.';
comment on column fit_point.fitted is 'Fitted value.';
comment on column fit_point.weight is 'Weight in the objective.';
comment on column fit_point.held_out is 'True for points that the fit did not see.';

create table fit_draw (
    fit_id varchar not null,
    draw integer not null,
    law varchar not null,
    name varchar not null,
    value double not null
);
comment on table fit_draw is 'Draws of the parameters, long: a fit can be used again without its data.';
comment on column fit_draw.fit_id is 'The fit.';
comment on column fit_draw.draw is 'Number of the draw.';
comment on column fit_draw.law is 'Law that the draw belongs to (an average has several).';
comment on column fit_draw.name is 'Parameter.';
comment on column fit_draw.value is 'Value.';

create table projection (
    fit_id varchar not null,
    role varchar not null,
    quantity varchar not null,
    method_id varchar,
    task_id varchar,
    metric varchar,
    n_params double not null,
    n_tokens double,
    mean double,
    low double,
    high double,
    new_low double,
    new_high double,
    level double,
    p_best double
);
comment on table projection is 'Projected losses and scores.';
comment on column projection.fit_id is 'The fit.';
comment on column projection.role is 'target or backtest.';
comment on column projection.quantity is 'loss or score.';
comment on column projection.method_id is 'Tuning method.';
comment on column projection.task_id is 'Task, for a score.';
comment on column projection.metric is 'Metric, for a score.';
comment on column projection.n_params is 'Total parameters of the target.';
comment on column projection.n_tokens is 'Tokens of the target, where the law uses them.';
comment on column projection.mean is 'Projection: nats, or a fraction.';
comment on column projection.low is 'Low end of the interval of the mean.';
comment on column projection.high is 'High end of the interval of the mean.';
comment on column projection.new_low is 'Low end of the interval of one new run.';
comment on column projection.new_high is 'High end of the interval of one new run.';
comment on column projection.level is 'Nominal coverage.';
comment on column projection.p_best is 'Probability that the method is the best at this size.';

create table backtest (
    fit_id varchar not null,
    quantity varchar not null,
    method_id varchar,
    task_id varchar,
    metric varchar,
    law varchar not null,
    n_params double not null,
    n_tokens double,
    n_train_points integer,
    mean double,
    new_low double,
    new_high double,
    level double,
    observed double,
    relative_error double,
    covered boolean,
    carry_forward double,
    carry_forward_error double
);
comment on table backtest is 'Held-out sizes: what was predicted from the smaller ones, and what was then seen.';
comment on column backtest.fit_id is 'The fit to the smaller sizes.';
comment on column backtest.quantity is 'loss or score.';
comment on column backtest.method_id is 'Tuning method.';
comment on column backtest.task_id is 'Task, for a score.';
comment on column backtest.metric is 'Metric, for a score.';
comment on column backtest.law is 'Law or link that predicted.';
comment on column backtest.n_params is 'The held-out size.';
comment on column backtest.n_tokens is 'Its tokens, where the law uses them.';
comment on column backtest.n_train_points is 'Observations that the prediction rests on.';
comment on column backtest.mean is 'Prediction.';
comment on column backtest.new_low is 'Low end of the interval of a new run.';
comment on column backtest.new_high is 'High end of the interval of a new run.';
comment on column backtest.level is 'Nominal coverage.';
comment on column backtest.observed is 'What was observed (mean over seeds).';
comment on column backtest.relative_error is 'abs(mean - observed) / abs(observed).';
comment on column backtest.covered is 'Whether the observation lies in the interval of a new run.';
comment on column backtest.carry_forward is 'Baseline: the value at the largest size that was not hidden.';
comment on column backtest.carry_forward_error is 'Its relative error.';
