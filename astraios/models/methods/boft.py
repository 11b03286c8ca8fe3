"""BOFT (Liu et al., 2023, arXiv:2311.06243): orthogonal rotation factored into sparse butterfly matrices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import CellError
from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import check_targets, shapes, targets
from astraios.train.memory import Working

if TYPE_CHECKING:
    from peft import BOFTConfig
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class Boft(TuningMethod):
    """Rotates the weights by `butterfly_factors` products of blocks of `block_size`.

    PEFT keeps a dense permutation of d x d for every module: 2.4 GB each at the 16B model's feed-forward.
    """

    peft_type: ClassVar[str] = "BOFT"
    peft_names: ClassVar[Mapping[str, str]] = {
        "block_size": "boft_block_size",
        "butterfly_factors": "boft_n_butterfly_factor",
        "dropout": "boft_dropout",
        "target_modules": "target_modules",
    }

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> BOFTConfig:
        from peft import BOFTConfig

        return BOFTConfig(
            task_type="CAUSAL_LM",
            boft_block_size=settings["block_size"],
            boft_n_butterfly_factor=settings["butterfly_factors"],
            boft_dropout=settings["dropout"],
            target_modules=targets(
                base, settings, self.name, "attention_in", "attention_out", "mlp_out", peft_table="BOFT"
            ),
        )

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        if settings["butterfly_factors"] > 1:
            from peft.tuners.boft.layer import get_fbd_cuda

            # PEFT would go on with one factor and a warning: another recipe than was asked for.
            if get_fbd_cuda() is None:
                raise CellError(
                    "method.boft.butterfly_factors above 1 needs PEFT's CUDA extension, which can't be built here "
                    "(nvcc and ninja): set it to 1"
                )
        return super().attach(model, settings, steps)

    def n_trainable(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> int:
        """By formula, since PEFT can't build BOFT without storage: m d b for the blocks, d' for the scales."""
        config = self.peft_config(model.config, settings, steps)
        check_targets(model, config, self.name)
        blocks = settings["butterfly_factors"] * settings["block_size"]
        return sum(width_in * blocks + width_out for width_out, width_in in shapes(model, config))

    def working(self, model: PreTrainedModel, settings: Mapping[str, Any], number: int) -> Working:
        """Each module keeps its permutation in float32, and until its backward pass the rotation and the matrix that it
        is multiplied with, and what it gives before it is scaled."""
        found = shapes(model, self.peft_config(model.config, settings, 0))
        layers = model.config.num_hidden_layers
        squares = sum(width_in**2 for _, width_in in found)
        return Working(
            frozen=4 * settings["butterfly_factors"] * squares,
            layer=2 * number * squares / layers,
            token=number * sum(width_out for width_out, _ in found) / layers,
            passing=2 * number * max(width_in**2 for _, width_in in found),
        )


METHOD = Boft(
    name="boft",
    title="BOFT",
    kind="other",
    citation="Liu et al., 2023, arXiv:2311.06243",
    quantization=None,
    quantizable=False,
    # PEFT's defaults, on the modules of the paper's LoRA.
    settings={"block_size": 4, "butterfly_factors": 1, "dropout": 0.0, "target_modules": None},
)
