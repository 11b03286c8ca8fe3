"""What the training loop asks of a tuning method; it knows nothing else of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


class Hooks(Protocol):
    """The part of a tuning method that the loop calls (`models.methods.TuningMethod` says what each does)."""

    def n_virtual_tokens(self, settings: Mapping[str, Any]) -> int:
        """Positions that the method puts in front of every sequence."""

    def regularizer(self, model: nn.Module) -> Tensor | None:
        """What the method adds to the cross-entropy, a scalar, or None."""

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after the optimizer's step, before gradients are cleared."""

    def trainable_state(self, model: nn.Module) -> dict[str, Tensor]:
        """All that training changes, by name, on the CPU."""

    def load_trainable_state(self, model: nn.Module, state: Mapping[str, Tensor]) -> None:
        """Puts back what `trainable_state` gave."""
