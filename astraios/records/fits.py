"""What fits say: parameters, draws, projections, backtests and correlations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Json, Timestamp, row_of


@row_of("fit", of="fit")
@dataclass(frozen=True, kw_only=True)
class FitRow:
    """One fitted law or link, with all that is needed to derive it again."""

    fit_id: Annotated[str, Column("varchar", "Hash of data, law, estimator, level and seed.")]
    created_at: Annotated[Timestamp | None, Column("timestamp", "When it was fitted, UTC.")] = None
    role: Annotated[str, Column("varchar", "target (all sizes used) or backtest (the largest hidden).")]
    quantity: Annotated[str, Column("varchar", "loss, or score (a link from loss to score).")]
    method_id: Annotated[str | None, Column("varchar", "Tuning method, or null for a fit over all.")] = None
    task_id: Annotated[str | None, Column("varchar", "Task, for a link.")] = None
    metric: Annotated[str | None, Column("varchar", "Metric, for a link.")] = None
    law: Annotated[str, Column("varchar", "Name of the law or link; an average of several is named auto.")]
    estimator: Annotated[str, Column("varchar", "huber, huber_1e-3, least_squares, binomial, ...")]
    loss_definition: Annotated[str | None, Column("varchar", "Which final loss: last, min or mean_last5.")] = None
    split: Annotated[str | None, Column("varchar", "Split of the loss.")] = None
    level: Annotated[float | None, Column("double", "Nominal coverage of the intervals.", "fraction")] = None
    seed: Annotated[int | None, Column("bigint", "Seed of the resampling.")] = None
    objective: Annotated[float | None, Column("double", "Value of the objective at the optimum.")] = None
    n_points: Annotated[int | None, Column("integer", "Observations used.", "observations")] = None
    data_hash: Annotated[str | None, Column("varchar", "Hash of the observations used.")] = None
    data_sql: Annotated[str | None, Column("varchar", "The query that selected them.")] = None
    certificate: Annotated[
        Json | None, Column("json", "Convergence, share of agreeing starts, relative gradient norm, as JSON.")
    ] = None
    warnings: Annotated[Json | None, Column("json", "Warnings with their codes, as JSON.")] = None
    packages: Annotated[Json | None, Column("json", "Versions of the packages that took part, as JSON.")] = None
    study_key: Annotated[
        str | None,
        Column(
            "varchar",
            "The study that the fit used (view study); several with commas where they were joined. Null for fits made "
            "before studies existed.",
        ),
    ] = None
    axes: Annotated[Json | None, Column("json", "Axes of the study with their roles and values, as JSON.")] = None
    query_hash: Annotated[
        str | None,
        Column("varchar", "SHA-256 over the rows that data_sql gave; the fit is stale when they are others now."),
    ] = None


@row_of("fit_parameter", of="fit")
@dataclass(frozen=True, kw_only=True)
class FitParameterRow:
    """Estimated parameters of a fit."""

    fit_id: Annotated[str, Column("varchar", "The fit.")]
    name: Annotated[str, Column("varchar", "Name of the parameter in the law.")]
    value: Annotated[float | None, Column("double", "Estimate.")] = None
    low: Annotated[float | None, Column("double", "Low end of its interval at the fit's level.")] = None
    high: Annotated[float | None, Column("double", "High end of its interval.")] = None
    at_bound: Annotated[bool | None, Column("boolean", "Whether the estimate lies at a bound of the law.")] = None


@row_of("fit_point", of="fit")
@dataclass(frozen=True, kw_only=True)
class FitPointRow:
    """Observations of a fit with its fitted values."""

    fit_id: Annotated[str, Column("varchar", "The fit.")]
    run_id: Annotated[str | None, Column("varchar", "The run, where there is one.")] = None
    n_params: Annotated[float | None, Column("double", "Total parameters.", "parameters")] = None
    n_tokens: Annotated[float | None, Column("double", "Tokens, where the law uses them.", "tokens")] = None
    observed: Annotated[
        float | None, Column("double", "Observed loss (nats) or score.", "nats a token, or a fraction")
    ] = None
    fitted: Annotated[float | None, Column("double", "Fitted value.", "nats a token, or a fraction")] = None
    weight: Annotated[float | None, Column("double", "Weight in the objective.")] = None
    held_out: Annotated[bool | None, Column("boolean", "True for points that the fit did not see.")] = None


@row_of("fit_draw", of="fit")
@dataclass(frozen=True, kw_only=True)
class FitDrawRow:
    """Draws of the parameters, long: a fit can be used again without its data."""

    fit_id: Annotated[str, Column("varchar", "The fit.")]
    draw: Annotated[int, Column("integer", "Number of the draw.")]
    law: Annotated[str, Column("varchar", "Law that the draw belongs to (an average has several).")]
    name: Annotated[str, Column("varchar", "Parameter.")]
    value: Annotated[float, Column("double", "Value.")]


@row_of("fit_curve", of="fit")
@dataclass(frozen=True, kw_only=True)
class FitCurveRow:
    """A series' projection over size, from its smallest run on; one for each amount of data, if any."""

    fit_id: Annotated[str, Column("varchar", "The fit.")]
    n_params: Annotated[float, Column("double", "Total parameters.", "parameters")]
    mean: Annotated[float, Column("double", "Projected loss.", "nats a token")]
    low: Annotated[float, Column("double", "Low end of the interval of the mean.", "nats a token")]
    high: Annotated[float, Column("double", "High end of the interval of the mean.", "nats a token")]
    new_low: Annotated[float, Column("double", "Low end of the interval of one new run.", "nats a token")]
    new_high: Annotated[float, Column("double", "High end of the interval of one new run.", "nats a token")]
    level: Annotated[float, Column("double", "Nominal coverage.", "fraction")]
    n_tokens: Annotated[
        float | None, Column("double", "Tokens along the line; null where the law takes size alone.", "tokens")
    ] = None
    p_best: Annotated[
        float | None,
        Column("double", "Probability that the series is the best there; null where nothing is ranked.", "fraction"),
    ] = None


@row_of("projection", of="fit")
@dataclass(frozen=True, kw_only=True)
class ProjectionRow:
    """Projected losses and scores."""

    fit_id: Annotated[str, Column("varchar", "The fit.")]
    role: Annotated[str, Column("varchar", "target or backtest.")]
    quantity: Annotated[str, Column("varchar", "loss or score.")]
    method_id: Annotated[str | None, Column("varchar", "Tuning method.")] = None
    task_id: Annotated[str | None, Column("varchar", "Task, for a score.")] = None
    metric: Annotated[str | None, Column("varchar", "Metric, for a score.")] = None
    n_params: Annotated[float, Column("double", "Total parameters of the target.", "parameters")]
    n_tokens: Annotated[float | None, Column("double", "Tokens of the target, where the law uses them.", "tokens")] = (
        None
    )
    mean: Annotated[
        float | None, Column("double", "Projection: nats, or a fraction.", "nats a token, or a fraction")
    ] = None
    low: Annotated[
        float | None, Column("double", "Low end of the interval of the mean.", "nats a token, or a fraction")
    ] = None
    high: Annotated[
        float | None, Column("double", "High end of the interval of the mean.", "nats a token, or a fraction")
    ] = None
    new_low: Annotated[
        float | None, Column("double", "Low end of the interval of one new run.", "nats a token, or a fraction")
    ] = None
    new_high: Annotated[
        float | None, Column("double", "High end of the interval of one new run.", "nats a token, or a fraction")
    ] = None
    level: Annotated[float | None, Column("double", "Nominal coverage.", "fraction")] = None
    p_best: Annotated[
        float | None, Column("double", "Probability that the method is the best at this size.", "fraction")
    ] = None


@row_of("backtest", of="fit")
@dataclass(frozen=True, kw_only=True)
class BacktestRow:
    """Held-out sizes: what was predicted from the smaller ones, and what was then seen."""

    fit_id: Annotated[str, Column("varchar", "The fit to the smaller sizes.")]
    quantity: Annotated[str, Column("varchar", "loss or score.")]
    method_id: Annotated[str | None, Column("varchar", "Tuning method.")] = None
    task_id: Annotated[str | None, Column("varchar", "Task, for a score.")] = None
    metric: Annotated[str | None, Column("varchar", "Metric, for a score.")] = None
    law: Annotated[str, Column("varchar", "Law or link that predicted.")]
    n_params: Annotated[float, Column("double", "The held-out size.", "parameters")]
    n_tokens: Annotated[float | None, Column("double", "Its tokens, where the law uses them.", "tokens")] = None
    n_train_points: Annotated[
        int | None, Column("integer", "Observations that the prediction rests on.", "observations")
    ] = None
    mean: Annotated[float | None, Column("double", "Prediction.", "nats a token, or a fraction")] = None
    new_low: Annotated[
        float | None, Column("double", "Low end of the interval of a new run.", "nats a token, or a fraction")
    ] = None
    new_high: Annotated[
        float | None, Column("double", "High end of the interval of a new run.", "nats a token, or a fraction")
    ] = None
    level: Annotated[float | None, Column("double", "Nominal coverage.", "fraction")] = None
    observed: Annotated[
        float | None, Column("double", "What was observed (mean over seeds).", "nats a token, or a fraction")
    ] = None
    relative_error: Annotated[float | None, Column("double", "abs(mean - observed) / abs(observed).", "fraction")] = (
        None
    )
    covered: Annotated[bool | None, Column("boolean", "Whether the observation lies in the interval of a new run.")] = (
        None
    )
    carry_forward: Annotated[
        float | None,
        Column("double", "Baseline: the value at the largest size that was not hidden.", "nats a token, or a fraction"),
    ] = None
    carry_forward_error: Annotated[float | None, Column("double", "Its relative error.", "fraction")] = None


@row_of("correlation")
@dataclass(frozen=True, kw_only=True)
class CorrelationRow:
    """Correlations between trainable parameters, final losses and mean scores over tuning methods."""

    origin: Annotated[str, Column("varchar", "As in run.")]
    ladder: Annotated[str | None, Column("varchar", "Ladder of the base models.")] = None
    dataset_id: Annotated[str | None, Column("varchar", "The data.")] = None
    x: Annotated[str, Column("varchar", "n_trainable, train_loss or test_loss.")]
    y: Annotated[str, Column("varchar", "train_loss, test_loss or mean_score.")]
    n_params: Annotated[
        int | None, Column("bigint", "Size of the base models, or null over all sizes.", "parameters")
    ] = None
    coefficient: Annotated[str, Column("varchar", "kendall (tau-b), pearson or spearman.")]
    value: Annotated[
        float | None,
        Column("double", "The coefficient; positive means that better goes with more, losses counted as negative."),
    ] = None
    p_value: Annotated[float | None, Column("double", "Two-sided p-value of no association.", "fraction")] = None
    n_points: Annotated[int | None, Column("integer", "Models behind it.", "observations")] = None
    source: Annotated[str | None, Column("varchar", "Where it was printed, or what estimated it.")] = None
