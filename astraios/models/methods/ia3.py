"""(IA)3 (Liu et al., 2022, arXiv:2205.05638): learned vectors that scale activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import ROLES, targets

if TYPE_CHECKING:
    from peft import IA3Config
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class IA3(TuningMethod):
    """Scales what the key and value projections give and what the feed-forward's output layer is given."""

    peft_type: ClassVar[str] = "IA3"
    peft_names: ClassVar[Mapping[str, str]] = {
        "target_modules": "target_modules",
        "feedforward_modules": "feedforward_modules",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> IA3Config:
        from peft import IA3Config

        target_modules = targets(base, settings, self.name, "key_value", "mlp_out", peft_table="IA3")
        feedforward = settings["feedforward_modules"]
        if feedforward is None:
            known = ROLES.get(base.model_type)
            feedforward = [name for name in target_modules if known and name in known.mlp_out]
        return IA3Config(
            task_type="CAUSAL_LM",
            target_modules=target_modules,
            feedforward_modules=feedforward if isinstance(feedforward, str) else list(feedforward),
        )


METHOD = IA3(
    name="ia3",
    title="(IA)3",
    kind="adapter",
    citation="Liu et al., 2022, arXiv:2205.05638",
    # Appendix D: c_attn (its output), mlp.c_proj (its input, as feed-forward).
    settings={"target_modules": None, "feedforward_modules": None},
)
