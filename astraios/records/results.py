"""What an attempt was measured to be: losses, and scores on tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from astraios.records.table import Column, Json, row_of


@dataclass(frozen=True, kw_only=True)
class OfAttempt:
    """What a result gets when it is stored."""

    run_id: Annotated[str, Column("varchar", "The run.")]
    attempt: Annotated[int, Column("integer", "The attempt.")]


@dataclass(frozen=True, kw_only=True)
class OfPoint(OfAttempt):
    """What a point along training gets when it is stored."""

    load_key: Annotated[int | None, Column("bigint", "As in attempt; queries of single runs are quick through it.")] = (
        None
    )


@row_of("loss_point", of="run", address=OfPoint, file="losses.parquet")
@dataclass(slots=True, unsafe_hash=True)
class LossPoint:
    """Cross-entropy loss over training, long.

    Not to be changed either, but not frozen: one is made at each step of training, and freezing takes half the time of
    writing it down.
    """

    split: Annotated[
        str, Column("varchar", "test and train: evaluations on fixed sets; batch: the loss of a training step.")
    ]
    step: Annotated[int, Column("integer", "Optimizer steps done (global step); 0 is before tuning.", "steps")]
    n_tokens: Annotated[int | None, Column("bigint", "Tokens trained on so far.", "tokens")]
    loss_nats: Annotated[
        float, Column("double", "Mean cross-entropy a token, nats, from the logits alone.", "nats a token")
    ]
    regularizer: Annotated[
        float | None,
        Column(
            "double",
            "Whatever the method adds to its training loss (AdaLoRA's orthogonality term), kept apart.",
            "nats a token",
        ),
    ] = None
    learning_rate: Annotated[
        float | None, Column("double", "Learning rate at that step, as the trainer tells it; null where it does not.")
    ] = None


@row_of("score_point", of="run", address=OfPoint, file="points.parquet")
@dataclass(frozen=True, slots=True)
class ScorePoint:
    """Scores along training, long: rewards and pass rates of RL, scores of checkpoints."""

    task_id: Annotated[str, Column("varchar", "The task, or the reward.")]
    metric: Annotated[str, Column("varchar", "For instance accuracy, pass@1, mean (of a reward).")]
    step: Annotated[int, Column("integer", "Optimizer steps done.", "steps")]
    value: Annotated[float, Column("double", "Point estimate; a fraction where the metric is one.")]
    n_tokens: Annotated[int | None, Column("bigint", "Tokens trained on so far.", "tokens")] = None
    device_seconds: Annotated[
        float | None, Column("double", "Seconds of the attempt so far, times the number of devices.", "seconds")
    ] = None
    stderr: Annotated[float | None, Column("double", "Standard error over items.")] = None
    n: Annotated[int | None, Column("integer", "Items or completions behind the value.", "items")] = None


@row_of("metric_point", of="run", address=OfPoint, file="metrics.parquet")
@dataclass(frozen=True, slots=True)
class MetricPoint:
    """What else a training logged, long: gradient norms, lengths, throughput, under the names that it was given."""

    name: Annotated[str, Column("varchar", "As it was logged.")]
    step: Annotated[int, Column("integer", "Optimizer steps done.", "steps")]
    n_tokens: Annotated[int | None, Column("bigint", "Tokens trained on so far.", "tokens")]
    value: Annotated[float, Column("double", "The number.")]


@row_of("loss_summary", of="run", address=OfAttempt)
@dataclass(frozen=True, kw_only=True)
class LossSummaryRow:
    """Final losses, worked out at ingest so that they need no scan of loss_point."""

    split: Annotated[str, Column("varchar", "As in loss_point.")]
    n_points: Annotated[int, Column("integer", "Evaluations.", "observations")]
    last_step: Annotated[int, Column("integer", "Step of the last one.", "steps")]
    last_loss: Annotated[
        float, Column("double", 'Loss at the last evaluation, nats: the definition "last".', "nats a token")
    ]
    min_loss: Annotated[float, Column("double", 'Smallest loss, nats: the definition "min".', "nats a token")]
    mean_last5_loss: Annotated[
        float,
        Column("double", 'Mean over the last five evaluations, nats: the definition "mean_last5".', "nats a token"),
    ]


@row_of("evaluation", of="run", address=OfAttempt)
@dataclass(frozen=True, kw_only=True)
class EvaluationRow:
    """One task evaluated on one attempt: how it was done."""

    task_id: Annotated[str, Column("varchar", "The task.")]
    n_shot: Annotated[int, Column("integer", "Demonstrations in the prompt.", "demonstrations")]
    n_items: Annotated[int | None, Column("integer", "Items evaluated.", "items")] = None
    isolation: Annotated[
        str | None,
        Column("varchar", "Isolation level at which generated programs ran; null where none were run."),
    ] = None
    wall_seconds: Annotated[float | None, Column("double", "Seconds.", "seconds")] = None
    settings: Annotated[
        Json | None, Column("json", "Temperature, samples, language level, hash of the gold data, as JSON.")
    ] = None
    gold_revision: Annotated[
        str | None,
        Column("varchar", "The commit on the hub that the gold data came from; null for those from elsewhere."),
    ] = None


@row_of("score", of="run", address=OfAttempt, file="scores.parquet")
@dataclass(frozen=True, slots=True)
class Score:
    """Scores, long: one metric of one task on one attempt. Fractions, never per cent."""

    task_id: Annotated[str, Column("varchar", "The task.")]
    metric: Annotated[str, Column("varchar", "For instance accuracy, f1_macro, pass@1.")]
    value: Annotated[float, Column("double", "Point estimate.", "fraction")]
    stderr: Annotated[
        float | None,
        Column("double", "Standard error over items (clusters where items share a source).", "fraction"),
    ]
    ci_low: Annotated[float | None, Column("double", "Low end of the 95 % interval.", "fraction")]
    ci_high: Annotated[float | None, Column("double", "High end of the 95 % interval.", "fraction")]
    n: Annotated[int | None, Column("integer", "Independent items (or clusters) behind the value.", "items")]
    n_failed: Annotated[
        int | None, Column("integer", "Items that could not be judged and count as wrong.", "items")
    ] = 0
    n_shot: Annotated[int, Column("integer", "Demonstrations in the prompt.", "demonstrations")] = 0

    @classmethod
    def told(cls, task_id: str, metric: str, value: float | None, n_shot: int = 0, **more: Any) -> Score:
        """A score that somebody else has measured; what they do not say is null, failures too.

        Args:
            task_id: the task.
            metric: the metric.
            value: point estimate; null where a tracker names a metric and has no value of it.
            n_shot: demonstrations.
            more: stderr, ci_low, ci_high, n, n_failed.
        """
        unsaid = dict.fromkeys(("stderr", "ci_low", "ci_high", "n", "n_failed"))
        return cls(task_id, metric, value, n_shot=n_shot, **{**unsaid, **more})  # type: ignore[arg-type]


@row_of("sample_score", of="run", address=OfAttempt, file="samples.parquet")
@dataclass(frozen=True, slots=True)
class SampleScore:
    """Scores of single samples, long."""

    task_id: Annotated[str, Column("varchar", "The task.")]
    item_id: Annotated[str, Column("varchar", "Item of the task.")]
    sample: Annotated[int, Column("integer", "Number of the sample of that item, from 0.")]
    value: Annotated[float, Column("double", "Score of the sample, for instance 1 for passed.", "fraction")]
    verdict: Annotated[
        str,
        Column("varchar", "passed, failed, timeout, invalid, ... or the margin's sign for likelihood tasks."),
    ]
    n_shot: Annotated[int, Column("integer", "Demonstrations in the prompt.", "demonstrations")] = 0
    n_choices: Annotated[
        int | None,
        Column(
            "integer",
            "Choices that the item offers; null where there are none (a completion, generated text) or nobody says.",
            "choices",
        ),
    ] = None
    answers: Annotated[
        Json | None,
        Column("json", "Places of the right choices among them, from 0, a list; null where nobody says."),
    ] = None
    loglikelihood: Annotated[
        float | None,
        Column(
            "double",
            "Log-likelihood of the right answer after the prompt, of a completion, or of the whole document: nats, "
            "summed over tokens. Null where it is not known, or several choices are right.",
            "nats",
        ),
    ] = None
    answer_bytes: Annotated[
        int | None, Column("integer", "UTF-8 bytes of the text that loglikelihood is of.", "bytes")
    ] = None
    choice_loglikelihoods: Annotated[
        Json | None,
        Column(
            "json",
            "Log-likelihood of each choice in their order, nats, a list (infinities as text); null where it is not "
            "known.",
        ),
    ] = None
    choice_bytes: Annotated[
        Json | None,
        Column("json", "UTF-8 bytes of each choice in their order, a list, without the space in front of it."),
    ] = None


@dataclass(frozen=True)
class TaskResult:
    """What a task gives back for one model."""

    scores: tuple[Score, ...]
    samples: tuple[SampleScore, ...]
    n_items: int
    isolation: str | None = None
    """Level at which generated programs ran; None where none were run."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """How it was done: temperature, language level, hash of the gold data, ..."""
    gold_revision: str | None = None
    """Commit on the hub that the gold data came from."""

    def evaluation(self, task_id: str, seconds: float, **settings: Any) -> EvaluationRow:
        """The row that says how it was done.

        Args:
            task_id: the task.
            seconds: wall time.
            settings: more of how it was done.
        """
        return EvaluationRow(
            task_id=task_id,
            n_shot=self.scores[0].n_shot if self.scores else 0,
            n_items=self.n_items,
            isolation=self.isolation,
            wall_seconds=seconds,
            settings={**self.settings, **settings},
            gold_revision=self.gold_revision,
        )
