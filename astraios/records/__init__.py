"""Frozen rows that the layers exchange. Losses are in nats a token, scores are fractions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True, unsafe_hash=True)
class LossPoint:
    """One evaluation of the cross-entropy loss during training.

    Not to be changed either, but not frozen: one is made at each step of training, and freezing takes half the time of
    writing it down.
    """

    split: str
    """test or train (fixed evaluation sets), or batch (the loss of a training step)."""
    step: int
    """Optimizer steps done; 0 is before tuning."""
    n_tokens: int
    """Tokens trained on so far."""
    loss_nats: float
    """Mean cross-entropy a token, nats, from the logits alone."""
    regularizer: float | None = None
    """What the tuning method adds to its training loss, kept apart."""


@dataclass(frozen=True, slots=True)
class Score:
    """One metric of one task."""

    task_id: str
    metric: str
    value: float
    """Point estimate, a fraction."""
    stderr: float | None
    """Standard error over items, clustered where items share a source."""
    ci_low: float | None
    """Low end of the 95 % interval."""
    ci_high: float | None
    n: int
    """Independent items (or clusters) behind the value."""
    n_failed: int = 0
    """Items that could not be judged; they count as wrong."""
    n_shot: int = 0


@dataclass(frozen=True, slots=True)
class SampleScore:
    """The score of one sample of one item."""

    task_id: str
    item_id: str
    sample: int
    """Number of the sample of that item, from 0."""
    value: float
    verdict: str
    n_shot: int = 0


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


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a base model under a tuning method, without virtual or frozen bookkeeping tensors."""

    n_params: int
    """Total of the base model, embeddings included."""
    n_params_nonembedding: int
    """Without token and position embeddings."""
    n_trainable: int
    """Trained by the tuning method."""
