"""What tasks can decide, and pass@k over k."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Json, Timestamp, row_of


@row_of("benchmark_quality")
@dataclass(frozen=True, kw_only=True)
class QualityRow:
    """Whether a task and metric can tell methods apart in a study, as astraios benchmark-quality found it."""

    study_key: Annotated[str, Column("varchar", "The study.")]
    task_id: Annotated[str, Column("varchar", "The task.")]
    metric: Annotated[str, Column("varchar", "The metric.")]
    n_methods: Annotated[int, Column("integer", "Methods at the largest size.", "methods")]
    n_params_small: Annotated[
        float | None, Column("double", "The size that decides: the largest but one.", "parameters")
    ] = None
    n_params_large: Annotated[float, Column("double", "The largest size.", "parameters")]
    n_pairs: Annotated[int, Column("integer", "Pairs of methods that both sizes have.", "pairs")]
    decision_accuracy: Annotated[
        float | None,
        Column("double", "Share of pairs in the order that they have at the largest size; ties half.", "fraction"),
    ] = None
    decisions: Annotated[
        Json | None, Column("json", "The same from each smaller size: n_params, accuracy, n_pairs, a list.")
    ] = None
    signal: Annotated[
        float | None, Column("double", "Standard deviation between methods at the largest size, in the metric's unit.")
    ] = None
    noise: Annotated[
        float | None, Column("double", "Standard deviation of one score that is repeated, in the metric's unit.")
    ] = None
    noise_from: Annotated[
        str | None, Column("varchar", "What shows the noise: seeds, checkpoints, or items (the standard errors alone).")
    ] = None
    signal_to_noise: Annotated[float | None, Column("double", "signal over noise.")] = None
    difference: Annotated[float, Column("double", "The difference that n_needed and power are about.", "fraction")]
    n_items: Annotated[float | None, Column("double", "Items that a score has.", "items")] = None
    n_needed: Annotated[
        float | None, Column("double", "Items that show the difference with 80 % power at a level of 5 %.", "items")
    ] = None
    seeds_needed: Annotated[
        float | None,
        Column("double", "Runs a method that show it; null where noise is of items alone.", "runs"),
    ] = None
    power: Annotated[
        float | None, Column("double", "Probability that the items there are show the difference.", "fraction")
    ] = None
    is_paired: Annotated[
        bool, Column("boolean", "Whether items were compared one by one (samples are there), which is sharper.")
    ] = False
    distance_from_chance: Annotated[
        float | None,
        Column("double", "Mean score at the smaller sizes less chance; null where that is unknown.", "fraction"),
    ] = None
    is_best_metric: Annotated[bool, Column("boolean", "Whether no other metric of the task decides better.")] = True
    groups: Annotated[
        Json | None,
        Column("json", "Methods that can't be told apart at the largest size (Holm's correction), lists, best first."),
    ] = None
    decides: Annotated[bool, Column("boolean", "Whether the task decides anything at the sizes at hand.")]
    words: Annotated[str, Column("varchar", "Why, in a sentence.")]
    created_at: Annotated[Timestamp, Column("timestamp", "When, UTC.")]


@row_of("pass_curve")
@dataclass(frozen=True, kw_only=True)
class PassPointRow:
    """pass@k over k, of runs and projected to larger models, as astraios pass-at-k found it."""

    study_key: Annotated[str, Column("varchar", "The study.")]
    task_id: Annotated[str, Column("varchar", "The task.")]
    method_id: Annotated[str, Column("varchar", "The tuning method.")]
    n_params: Annotated[float, Column("double", "Size of the base model.", "parameters")]
    run_id: Annotated[str | None, Column("varchar", "The run; null where none was of that size.")] = None
    k: Annotated[int, Column("integer", "Samples allowed a problem.", "samples")]
    value: Annotated[float, Column("double", "Chance that one of k samples passes, mean over problems.", "fraction")]
    low: Annotated[float, Column("double", "Low end of the 90 % interval, over problems.", "fraction")]
    high: Annotated[float, Column("double", "High end.", "fraction")]
    n_samples: Annotated[int, Column("integer", "Samples a problem that there are.", "samples")]
    n_problems: Annotated[int, Column("integer", "Problems.", "problems")]
    is_projected: Annotated[
        bool, Column("boolean", "Whether k is more than the samples there are, or the size was not run.")
    ]
    warning: Annotated[
        str | None,
        Column(
            "varchar",
            "Code of what a reader should know; null where there is nothing "
            "(unsolved_unknown: over half of the interval is what the samples leave open).",
        ),
    ] = None
    created_at: Annotated[Timestamp, Column("timestamp", "When, UTC.")]
