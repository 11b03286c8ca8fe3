"""LoRA (Hu et al., 2021, arXiv:2106.09685): W + (alpha / r) B A, with A and B of rank r."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.models.methods import TuningMethod, base_precision
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
    peft_type: ClassVar[str] = "LORA"
    peft_names: ClassVar[Mapping[str, str]] = {
        "rank": "r",
        "alpha": "lora_alpha",
        "dropout": "lora_dropout",
        "target_modules": "target_modules",
    }

    def recognises(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        if variant(config) != variant(dict(self.options)):
            return None
        if self.quantization == "nf4" and base_precision(config) != "nf4":
            return None
        return super().recognises(config)

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


def variant(config: Mapping[str, Any]) -> frozenset[str]:
    """What makes a LoRA adapter another method: switches that are on, and how its matrices start.

    >>> sorted(variant({"use_dora": True, "use_rslora": False, "init_lora_weights": "pissa_niter_4"}))
    ['dora', 'pissa']
    """
    switched = {
        name.removeprefix("use_")
        for name, value in config.items()
        if name.startswith("use_") and _said(value) == "true"
    }
    start = _said(config.get("init_lora_weights", True)).split("_niter")[0]
    return frozenset(switched | ({start} - _PLAIN_STARTS))


def _said(value: Any) -> str:
    """A value in small letters: trackers keep `true` as a text."""
    return str(value).lower()


_PLAIN_STARTS = {"true", "false", "none", "gaussian", "orthogonal"}
"""Random matrices, and one of zeros: LoRA all the same."""

METHOD = Lora(name="lora", title="LoRA", kind="low-rank", citation="Hu et al., 2021, arXiv:2106.09685", settings=PAPER)
