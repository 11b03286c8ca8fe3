"""LoRA (Hu et al., 2021, arXiv:2106.09685): W + (alpha / r) B A, with A and B of rank r."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import targets

if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PretrainedConfig

# Appendix D, with q_attn left out: multi-query attention has no such module.
PAPER = {"rank": 8, "alpha": 16, "dropout": 0.05, "target_modules": None}


@dataclass(frozen=True, kw_only=True)
class Lora(TuningMethod):
    """LoRA on the attention's projections and the feed-forward's output, and its variants by `options`."""

    options: tuple[tuple[str, Any], ...] = ()
    """Arguments of PEFT's LoraConfig that make a variant, as pairs."""

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> LoraConfig:
        from peft import LoraConfig

        return LoraConfig(
            task_type="CAUSAL_LM",
            r=settings["rank"],
            lora_alpha=settings["alpha"],
            lora_dropout=settings["dropout"],
            target_modules=targets(
                base, settings, self.name, "attention_in", "attention_out", "mlp_out", peft_table="LORA"
            ),
            **dict(self.options),
        )


METHOD = Lora(name="lora", title="LoRA", kind="low-rank", citation="Hu et al., 2021, arXiv:2106.09685", settings=PAPER)
