"""Prompt Tuning (Lester et al., 2021, arXiv:2104.08691): learned embeddings in front of the input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.models.methods._prompt import PromptMethod, heads

if TYPE_CHECKING:
    from peft import PromptTuningConfig
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class PromptTuning(PromptMethod):
    """The virtual tokens' embeddings are the parameters."""

    peft_type: ClassVar[str] = "PROMPT_TUNING"
    peft_names: ClassVar[Mapping[str, str]] = {
        "n_virtual_tokens": "num_virtual_tokens",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> PromptTuningConfig:
        from peft import PromptTuningConfig

        return PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=settings["n_virtual_tokens"],
            prompt_tuning_init="RANDOM",
            **heads(base),
        )


METHOD = PromptTuning(
    name="prompt",
    title="Prompt Tuning",
    kind="prompt",
    citation="Lester et al., 2021, arXiv:2104.08691",
    # Appendix F: 1e-4 at first, which fails; 3e-2 works.
    learning_rate=3e-2,
    settings={"n_virtual_tokens": 30},
)
