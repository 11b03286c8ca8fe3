"""What planning says before money is spent: sizes and data for budgets, isoFLOP lines, speed-ups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Timestamp, row_of

BUDGETS = "budgets"
"""What `fit-scaling` asks of each study: the best use of a row of budgets."""


@row_of("allocation")
@dataclass(frozen=True, kw_only=True)
class AllocationRow:
    """The best size and amount of data for a budget, or the least budget for a loss or a score, by series."""

    study_key: Annotated[str, Column("varchar", "The study, as in the view study.")]
    series: Annotated[str, Column("varchar", "What is planned for, as in run_series.")]
    asked: Annotated[
        str, Column("varchar", "What was asked, for instance flops=1e+23; budgets: the row of budgets of fit-scaling.")
    ]
    created_at: Annotated[Timestamp | None, Column("timestamp", "When, UTC.")] = None
    fit_id: Annotated[str | None, Column("varchar", "Fit of the series whose laws say it.")] = None
    sharing: Annotated[
        str | None, Column("varchar", "How size and data share the budget: chosen, or what is held, in words.")
    ] = None
    level: Annotated[float | None, Column("double", "Nominal coverage of the intervals.", "fraction")] = None
    flops: Annotated[float | None, Column("double", "The budget; null where the target is not reached.", "FLOPs")] = (
        None
    )
    flops_low: Annotated[float | None, Column("double", "Low end of the least budget.", "FLOPs")] = None
    flops_high: Annotated[float | None, Column("double", "High end; null where it is not bounded.", "FLOPs")] = None
    device_hours: Annotated[
        float | None, Column("double", "The same in device-hours, where a throughput is known or assumed.", "hours")
    ] = None
    price: Annotated[float | None, Column("double", "The same in money, where a price was given.", "money")] = None
    n_params: Annotated[float | None, Column("double", "Best size.", "parameters")] = None
    n_params_low: Annotated[float | None, Column("double", "Low end of its interval.", "parameters")] = None
    n_params_high: Annotated[float | None, Column("double", "High end of its interval.", "parameters")] = None
    n_tokens: Annotated[float | None, Column("double", "Best amount of data.", "tokens")] = None
    n_tokens_low: Annotated[float | None, Column("double", "Low end of its interval.", "tokens")] = None
    n_tokens_high: Annotated[float | None, Column("double", "High end of its interval.", "tokens")] = None
    flat_low: Annotated[
        float | None, Column("double", "Smallest size whose loss is within 0.2 % of the best.", "parameters")
    ] = None
    flat_high: Annotated[float | None, Column("double", "Largest such size.", "parameters")] = None
    loss: Annotated[float | None, Column("double", "Projected loss.", "nats a token")] = None
    loss_low: Annotated[float | None, Column("double", "Low end of the interval of its mean.", "nats a token")] = None
    loss_high: Annotated[float | None, Column("double", "High end of the interval of its mean.", "nats a token")] = None
    new_low: Annotated[float | None, Column("double", "Low end of the interval of a new run.", "nats a token")] = None
    new_high: Annotated[float | None, Column("double", "High end of the interval of a new run.", "nats a token")] = None
    exponent: Annotated[float | None, Column("double", "Of the best size in the budget, around it.")] = None
    exponent_low: Annotated[float | None, Column("double", "Low end of its interval.")] = None
    exponent_high: Annotated[float | None, Column("double", "High end of its interval.")] = None
    p_no_optimum: Annotated[
        float | None, Column("double", "Share of the draws without a best size inside the range.", "fraction")
    ] = None
    p_unreachable: Annotated[
        float | None, Column("double", "Share of the draws that never reach the target.", "fraction")
    ] = None
    task_id: Annotated[str | None, Column("varchar", "Task of the score that was asked for.")] = None
    score: Annotated[float | None, Column("double", "The score that was asked for.", "fraction")] = None


@row_of("isoflop")
@dataclass(frozen=True, kw_only=True)
class IsoflopRow:
    """Projected loss against size along lines of equal training FLOPs."""

    study_key: Annotated[str, Column("varchar", "The study, as in the view study.")]
    series: Annotated[str, Column("varchar", "As in run_series.")]
    fit_id: Annotated[str | None, Column("varchar", "Fit of the series.")] = None
    flops: Annotated[float, Column("double", "Budget of the line.", "FLOPs")]
    n_params: Annotated[float, Column("double", "Size.", "parameters")]
    n_tokens: Annotated[float, Column("double", "What the budget leaves for data.", "tokens")]
    loss: Annotated[float, Column("double", "Projected loss.", "nats a token")]
    is_best: Annotated[bool, Column("boolean", "Whether this is the minimum of the line.")]


@row_of("speed_up")
@dataclass(frozen=True, kw_only=True)
class SpeedUpRow:
    """How much more of a unit one series needs to reach another's loss at a target."""

    study_key: Annotated[str, Column("varchar", "The study, as in the view study.")]
    series: Annotated[str, Column("varchar", "The series that is followed until it reaches the other's loss.")]
    faster: Annotated[str, Column("varchar", "The series whose loss is reached.")]
    unit: Annotated[str, Column("varchar", "flops, tokens, seconds or money.")]
    created_at: Annotated[Timestamp | None, Column("timestamp", "When, UTC.")] = None
    n_params: Annotated[float | None, Column("double", "Size of the target.", "parameters")] = None
    n_tokens: Annotated[float | None, Column("double", "Data of the target.", "tokens")] = None
    loss: Annotated[float | None, Column("double", "Projected loss of `faster` there.", "nats a token")] = None
    factor: Annotated[
        float | None,
        Column("double", "What `series` needs of the unit, as a multiple; null: it never gets there."),
    ] = None
    low: Annotated[float | None, Column("double", "Low end of its interval.")] = None
    high: Annotated[float | None, Column("double", "High end; null where it is not bounded.")] = None
    level: Annotated[float | None, Column("double", "Nominal coverage of the interval.", "fraction")] = None
    separable: Annotated[bool | None, Column("boolean", "Whether the interval leaves 1 out.")] = None
    p_unreachable: Annotated[
        float | None, Column("double", "Share of the draws in which `series` never gets there.", "fraction")
    ] = None


@row_of("next_run")
@dataclass(frozen=True, kw_only=True)
class NextRunRow:
    """Runs that would take most uncertainty from a target a device-hour, in the order in which to do them."""

    study_key: Annotated[str, Column("varchar", "The study, as in the view study.")]
    place: Annotated[int, Column("integer", "1 is the first to do.")]
    series: Annotated[str, Column("varchar", "As in run_series.")]
    created_at: Annotated[Timestamp | None, Column("timestamp", "When, UTC.")] = None
    n_params: Annotated[float, Column("double", "Its size.", "parameters")]
    target: Annotated[float, Column("double", "The size that matters.", "parameters")]
    device_hours: Annotated[float, Column("double", "What it would take.", "hours")]
    cost_source: Annotated[str, Column("varchar", "Where that comes from: measured, or the FLOPs model.")]
    gain: Annotated[
        float,
        Column("double", "Expected fall of the mean variance of the target's losses, of the rest.", "fraction"),
    ]
    width_after: Annotated[
        float, Column("double", "Standard deviation of the target's losses after it, relative to them.", "fraction")
    ]


@row_of("not_planned")
@dataclass(frozen=True, kw_only=True)
class NotPlannedRow:
    """What the newest fit-scaling of a study could not plan, and why."""

    study_key: Annotated[str, Column("varchar", "The study, as in the view study.")]
    what: Annotated[str, Column("varchar", "budgets, speed_up or next_run: the part of planning that is missing.")]
    series: Annotated[str | None, Column("varchar", "As in run_series; null where it is about all of them.")] = None
    created_at: Annotated[Timestamp | None, Column("timestamp", "When, UTC.")] = None
    why: Annotated[str, Column("varchar", "In words.")]


PlanRow = AllocationRow | IsoflopRow | NextRunRow | NotPlannedRow | SpeedUpRow
"""What planning gives."""
