"""What the methods that put virtual tokens in front of the input have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError
from astraios.models.methods import TuningMethod

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class PromptMethod(TuningMethod):
    """Virtual tokens in front of every sequence, and their positions in front of the logits.

    Batches must not be padded on the left: PEFT drops position ids, so that such logits are wrong without a word.
    """

    def n_virtual_tokens(self, settings: Mapping[str, Any]) -> int:
        return int(settings["n_virtual_tokens"])

    def check(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int, **limits: Any) -> None:
        if self.n_virtual_tokens(settings) < 1:
            raise UsageError(f"method.{self.name}.n_virtual_tokens must be at least 1")
        super().check(base, settings, steps, **limits)


def heads(base: PretrainedConfig) -> dict[str, int]:
    """What PEFT asks for and doesn't use here, where it would not find it: some bases name it otherwise or have none.

    Only keys and values in front of every layer (prefix tuning) are shaped by the number of heads.
    """
    known = {"num_attention_heads", "n_head", "num_heads", "encoder_attention_heads"}
    return {} if known & base.to_dict().keys() else {"num_attention_heads": 1}
