"""OFT (Qiu et al., 2023, arXiv:2306.07280): an orthogonal rotation of the weights, block by block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import UsageError
from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import matched, targets

if TYPE_CHECKING:
    from peft import OFTConfig
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Oft(TuningMethod):
    """Rotates what a module is given, in blocks of `block_size`."""

    peft_type: ClassVar[str] = "OFT"
    peft_names: ClassVar[Mapping[str, str]] = {
        "block_size": "oft_block_size",
        "dropout": "module_dropout",
        "target_modules": "target_modules",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> OFTConfig:
        from peft import OFTConfig

        return OFTConfig(
            task_type="CAUSAL_LM",
            oft_block_size=settings["block_size"],
            module_dropout=settings["dropout"],
            target_modules=targets(
                base, settings, self.name, "attention_in", "attention_out", "mlp_out", peft_table="OFT"
            ),
        )

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        # PEFT would take another block size, with a warning.
        for path, module in matched(model, self.peft_config(model.config, settings, steps)):
            width, size = getattr(module, "in_features", None), settings["block_size"]
            if width and width % size:
                raise UsageError(f"method.{self.name}.block_size {size} does not divide {width}, the width of {path}")
        return super().attach(model, settings, steps)


METHOD = Oft(
    name="oft",
    title="OFT",
    kind="other",
    citation="Qiu et al., 2023, arXiv:2306.07280",
    # PEFT's defaults, on the modules of the paper's LoRA.
    settings={"block_size": 32, "dropout": 0.0, "target_modules": None},
)
