"""P-Tuning (Liu et al., 2021, arXiv:2103.10385): virtual tokens that a small network computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import UsageError
from astraios.models.methods._prompt import PromptMethod, heads

if TYPE_CHECKING:
    from peft import PromptEncoderConfig
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class PTuning(PromptMethod):
    """Only the virtual tokens are saved; the encoder that they come from is in `trainable_state` alone."""

    peft_type: ClassVar[str] = "P_TUNING"
    peft_names: ClassVar[Mapping[str, str]] = {
        "n_virtual_tokens": "num_virtual_tokens",
        "encoder": "encoder_reparameterization_type",
        "encoder_width": "encoder_hidden_size",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> PromptEncoderConfig:
        from peft import PromptEncoderConfig

        if settings["encoder"] not in ("MLP", "LSTM"):
            raise UsageError(f"method.{self.name}.encoder must be MLP or LSTM, not {settings['encoder']!r}")
        return PromptEncoderConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=settings["n_virtual_tokens"],
            encoder_reparameterization_type=settings["encoder"],
            encoder_hidden_size=settings["encoder_width"] or base.hidden_size,
            **heads(base),
        )


METHOD = PTuning(
    name="ptuning",
    title="P-Tuning",
    kind="prompt",
    citation="Liu et al., 2021, arXiv:2103.10385",
    # Appendix D; encoder_width None is the base's own width.
    settings={"n_virtual_tokens": 30, "encoder": "MLP", "encoder_width": None},
)
