"""What the three bottleneck adapters have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from astraios.errors import UsageError
from astraios.models.methods import TuningMethod
from astraios.models.methods._targets import ROLES, targets

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

    from astraios.models.bottleneck import BottleneckConfig

# LLM-Adapters' defaults, which the paper keeps: width 256, tanh, no dropout, both matrices N(0, 0.02).
PAPER: Mapping[str, Any] = MappingProxyType(
    {
        "bottleneck_size": 256,
        "non_linearity": "tanh",
        "dropout": 0.0,
        "scaling": 1.0,
        "init_weights": "bert",
        "target_modules": None,
    }
)

_CARD = """## Loading

PEFT has no bottleneck adapters of its own. astraios brings them; import its tuner before you load this adapter:

```python
import astraios.models.bottleneck  # pip install 'astraios[train]'
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("this directory")
```

The adapter is not linear, so it can't be merged into the base model."""


@dataclass(frozen=True, kw_only=True)
class BottleneckMethod(TuningMethod):
    """A bottleneck adapter at the modules that play `roles`."""

    roles: tuple[str, ...]
    """Fields of `Roles`: where it goes."""
    parallel: bool = False
    """Beside its module instead of before or after it."""
    pfeiffer: bool = False
    peft_type: ClassVar[str] = "BOTTLENECK"
    peft_names: ClassVar[Mapping[str, str]] = {
        **{name: name for name in PAPER},
        "dropout": "adapter_dropout",
        "input_modules": "input_modules",
    }

    def recognises(self, config: Mapping[str, Any]) -> dict[str, Any] | None:
        told = (bool(config.get("use_parallel_adapter")), bool(config.get("use_adapterp")))
        stated = super().recognises(config) if told == (self.parallel, self.pfeiffer) else None
        return None if stated is None else {name: value for name, value in stated.items() if name in self.settings}

    def peft_config(self, base: PretrainedConfig, settings: Mapping[str, Any], steps: int) -> BottleneckConfig:
        from astraios.models.bottleneck import BottleneckConfig

        before = settings.get("input_modules")
        if before is None and not self.parallel:
            known = ROLES.get(base.model_type)
            if known is None and "mlp_in" in self.roles:
                raise UsageError(
                    f"tuning method {self.name!r} does not know a {base.model_type!r} model: set "
                    f"method.{self.name}.target_modules, and input_modules to those with the adapter before them"
                )
            before = [name for name in known.mlp_in if "mlp_in" in self.roles] if known else []
        return BottleneckConfig(
            task_type="CAUSAL_LM",
            target_modules=targets(base, settings, self.name, *self.roles),
            input_modules=None if before is None else list(before),
            bottleneck_size=settings["bottleneck_size"],
            non_linearity=settings["non_linearity"],
            adapter_dropout=settings["dropout"],
            scaling=settings["scaling"],
            init_weights=settings["init_weights"],
            use_parallel_adapter=self.parallel,
            use_adapterp=self.pfeiffer,
        )

    def card_note(self) -> str:
        return _CARD

    def load(self, base: PreTrainedModel, directory: Path, *, trainable: bool = False) -> nn.Module:
        import astraios.models.bottleneck  # noqa: F401  registers the tuner

        return super().load(base, directory, trainable=trainable)
