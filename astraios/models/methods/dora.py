"""DoRA (Liu et al., 2024, arXiv:2402.09353): LoRA on the direction of the weights, with a magnitude of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError
from astraios.models.methods.lora import PAPER, Lora

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


METHOD = Dora(
    name="dora",
    title="DoRA",
    kind="low-rank",
    citation="Liu et al., 2024, arXiv:2402.09353",
    settings=PAPER,
    options=(("use_dora", True),),
)
