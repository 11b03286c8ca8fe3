"""Tasks that tuned models are scored on, one file each. A task is registered by being a module-level `Task`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astraios.collect.data import DataSpec
from astraios.collect.sources import Record
from astraios.records import TaskResult
from astraios.registry import Registry

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class TunedModel:
    """A model as tasks meet it."""

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    n_virtual: int
    """Positions that the tuning method puts in front of the logits."""
    n_positions: int
    """Longest sequence that the model reads, virtual tokens not counted."""
    data: DataSpec
    """Prompt format that it was tuned on."""
    held_out: Sequence[Record] = ()
    """Test records of the data that it was tuned on."""
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a task is; how it is scored is the business of its subclass."""

    name: str
    """Identifier in the database and on the command line, for instance "humanevalfix-java"."""
    title: str
    """Name as printed in charts and tables."""
    kind: str
    """comprehension, generation, robustness, security or likelihood."""
    metric: str
    """The metric that charts and fits use first."""
    chance: float | None
    """Score of guessing, a fraction; None where guessing scores nothing."""
    ceiling: float = 1.0
    higher_is_better: bool = True
    citation: str = ""

    def evaluate(self, model: TunedModel) -> TaskResult:
        """Scores a model.

        Raises:
            CellError: the task does not fit the model.
        """
        raise NotImplementedError


TASKS: Registry[Task] = Registry(Task, "astraios.collect.tasks", "task", group="astraios.tasks")
