"""Tuning methods, one file each. A method is registered by being a module-level `TuningMethod`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError, did_you_mean
from astraios.registry import Registry

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel


@dataclass(frozen=True, kw_only=True)
class TuningMethod:
    """A way of adapting a base model; the fields are the paper's settings, the sweep may override them.

    Subclasses build the PEFT configuration; everything else is shared.
    """

    name: str
    """Identifier in the database and on the command line, for instance "lora"."""
    title: str
    """Name as printed in charts and tables, for instance "LoRA"."""
    kind: str
    """full, low-rank, prompt, adapter, scaling or other."""
    citation: str
    learning_rate: float = 1e-4
    """Peak learning rate in the paper's setting."""
    quantization: str | None = "8bit"
    """Default precision of the frozen base: None, "8bit" or "nf4"."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Defaults of what the sweep may set under [methods.NAME]: rank, alpha, target modules, ..."""

    def with_defaults(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """The method's settings with the sweep's in place of the defaults.

        Raises:
            UsageError: an override names no setting of this method.
        """
        unknown = set(overrides) - set(self.settings)
        if unknown:
            name = sorted(unknown)[0]
            raise UsageError(
                f"tuning method {self.name!r} has no setting {name!r}: {did_you_mean(name, self.settings)}"
            )
        return {**self.settings, **overrides}

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> PeftConfig | None:
        """Configuration of the PEFT library for `base`, or None for full fine-tuning."""
        raise NotImplementedError

    def attach(self, model: PreTrainedModel, settings: Mapping[str, Any], steps: int) -> nn.Module:
        """The model made ready to be tuned: exactly the method's parameters require gradients.

        Args:
            model: base model; it is changed in place.
            settings: as `with_defaults` gives them.
            steps: optimizer steps planned (some methods schedule by it).
        """
        from peft import get_peft_model

        config = self.peft_config(model.config, settings, steps)
        return model if config is None else get_peft_model(model, config)

    def after_step(self, model: nn.Module, step: int) -> None:
        """Called after each optimizer step, for methods that adapt themselves (AdaLoRA's rank allocation)."""


METHODS: Registry[TuningMethod] = Registry(
    TuningMethod, "astraios.collect.methods", "tuning method", group="astraios.methods"
)
