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
        """All in float32: the norm of an adapted matrix takes an identity matrix, B A of it, the same scaled, and the
        sum. Until its backward pass each module keeps what base and adapter give, and a copy of the matrix where the
        base is none of float32."""
        found = shapes(model, self.peft_config(model.config, settings, 0))
        layers = model.config.num_hidden_layers
        copies = sum(width_in * width_out for width_out, width_in in found) if number < 4 else 0
        return Working(
            layer=4 * copies / layers,
            token=8 * sum(width_out for width_out, _ in found) / layers,
            passing=4 * max(width_in**2 + 3 * width_in * width_out for width_out, width_in in found),
        )


METHOD = Dora(
    name="dora",
    title="DoRA",
    kind="low-rank",
    citation="Liu et al., 2024, arXiv:2402.09353",
    settings=PAPER,
    options=(("use_dora", True),),
)
