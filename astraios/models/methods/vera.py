"""VeRA (Kopiczko et al., 2024, arXiv:2310.11454): shared random low-rank matrices, scaled by learned vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import targets

if TYPE_CHECKING:
    from peft import VeraConfig
    from transformers import PretrainedConfig


@dataclass(frozen=True, kw_only=True)
class Vera(TuningMethod):
    """The random matrices are drawn from `projection_seed` and saved with the adapter."""

    peft_type: ClassVar[str] = "VERA"
    peft_names: ClassVar[Mapping[str, str]] = {
        "rank": "r",
        "d_initial": "d_initial",
        "dropout": "vera_dropout",
        "projection_seed": "projection_prng_key",
        "target_modules": "target_modules",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> VeraConfig:
        from peft import VeraConfig

        return VeraConfig(
            task_type="CAUSAL_LM",
            r=settings["rank"],
            d_initial=settings["d_initial"],
            vera_dropout=settings["dropout"],
            projection_prng_key=settings["projection_seed"],
            target_modules=targets(
                base, settings, self.name, "attention_in", "attention_out", "mlp_out", peft_table="VERA"
            ),
        )


METHOD = Vera(
    name="vera",
    title="VeRA",
    kind="low-rank",
    citation="Kopiczko et al., 2024, arXiv:2310.11454",
    # PEFT's defaults, on the modules of the paper's LoRA; its authors use larger rates than for LoRA.
    learning_rate=1e-3,
    settings={"rank": 256, "d_initial": 0.1, "dropout": 0.0, "projection_seed": 0, "target_modules": None},
)
