"""Full fine-tuning: every parameter of the base model is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError
from astraios.models.methods import TuningMethod

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class FullFineTuning(TuningMethod):
    """No adapter: the model itself."""

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> None:
        return None

    def load(self, base: PreTrainedModel, directory: Path, *, trainable: bool = False) -> nn.Module:
        if not (Path(directory) / "config.json").is_file():
            raise CellError(f"{directory} holds no model: config.json is missing")
        try:
            model = type(base).from_pretrained(str(directory), dtype=base.dtype)
        except (ValueError, KeyError, RuntimeError, OSError) as error:
            raise CellError(f"the model in {directory} can't be loaded: {str(error).splitlines()[0]}") from error
        model.to(base.device)  # type: ignore[arg-type]
        return model.eval().requires_grad_(trainable)


METHOD = FullFineTuning(
    name="fft",
    title="FFT",
    kind="full",
    citation="Zhuo et al., 2024, arXiv:2401.00788, section 2.1",
    # The text's rate; the paper's code has 1e-4.
    learning_rate=1e-6,
    quantization=None,
    quantizable=False,
)
