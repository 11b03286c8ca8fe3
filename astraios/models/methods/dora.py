"""DoRA (Liu et al., 2024, arXiv:2402.09353): LoRA on the direction of the weights, with a magnitude of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError
from astraios.models.methods._targets import shapes
from astraios.models.methods.lora import PAPER, Lora
from astraios.train.memory import Working

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Dora(Lora):
    """Over an 8-bit base it needs a GPU: on a CPU, PEFT 0.21 loses the scales of the weights whose norm it takes."""

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        if any(type(module).__name__ == "Linear8bitLt" and not module.weight.is_cuda for module in model.modules()):
            raise CellError(
                f"tuning method {self.name!r} works over an 8-bit base on a GPU only: "
                'set train.quantization = "nf4" or "none"'
            )
        return super().attach(model, settings, steps)

    def working(self, model: PreTrainedModel, settings: Mapping[str, Any], number: int) -> Working:
        """The norm of an adapted matrix takes an identity matrix (in float32), B A of it, the same scaled, and the sum;
        until the backward pass each module keeps what base and adapter give."""
        found = shapes(model, self.peft_config(model.config, settings, 0))
        return Working(
            token=2 * number * sum(width_out for width_out, _ in found) / model.config.num_hidden_layers,
            passing=max(4 * width_in**2 + 3 * number * width_in * width_out for width_out, width_in in found),
        )


METHOD = Dora(
    name="dora",
    title="DoRA",
    kind="low-rank",
    citation="Liu et al., 2024, arXiv:2402.09353",
    settings=PAPER,
    options=(("use_dora", True),),
)
