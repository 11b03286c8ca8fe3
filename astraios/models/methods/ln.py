"""LN tuning (Zhao et al., 2024, arXiv:2312.11420): only the normalization layers are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import CellError
from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import matched

if TYPE_CHECKING:
    from peft import LNTuningConfig
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

# ln_1, ln_2, ln_f of GPT-2's family; input_layernorm, q_norm, norm of Llama's; norm_1 of MPT's.
_NORMS = r"(.*\.)?(ln_\w+|norm_\w+|\w*layer_?norm\w*|\w*_norm|norm|final_layer_norm)"


@dataclass(frozen=True, kw_only=True)
class LayerNormTuning(TuningMethod):
    """Trains a copy of every normalization layer."""

    peft_type: ClassVar[str] = "LN_TUNING"
    peft_names: ClassVar[Mapping[str, str]] = {
        "target_modules": "target_modules",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> LNTuningConfig:
        from peft import LNTuningConfig

        return LNTuningConfig(task_type="CAUSAL_LM", target_modules=settings["target_modules"] or _NORMS)

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        config = self.peft_config(model.config, settings, steps)
        if not all(list(layer.parameters()) for _, layer in matched(model, config)):
            raise CellError(
                f"tuning method {self.name!r} does not fit a {model.config.model_type} model: its normalization layers "
                "have no parameters"
            )
        return super().attach(model, settings, steps)


METHOD = LayerNormTuning(
    name="ln",
    title="LN tuning",
    kind="other",
    citation="Zhao et al., 2024, arXiv:2312.11420",
    settings={"target_modules": None},
)
