"""The bottleneck adapter as a tuner of the PEFT library, which has none: import this module to register it.

    A(x) = s up(f(down(dropout(x))))        down: d x b, up: b x d', no biases, f = tanh

with three places for it around a linear layer y = W x + c (LLM-Adapters, Hu et al., 2023, arXiv:2304.01933):

    input       y = W (x + A(x)) + c        Houlsby's adapter of the feed-forward's first layer
    output      h = W x + c;  y = h + A(h)  Houlsby's and Pfeiffer's after the second
    parallel    y = W x + c + A(x)          He et al.

The file format is that of LLM-Adapters' own fork of PEFT (type BOTTLENECK), so the paper's checkpoints load. A is
computed in the dtype of its weights (float32 unless asked otherwise) and cast back. It is not linear, so it can't be
merged into W.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, _get_in_out_features
from peft.utils import PeftType, register_peft_method
from torch import Tensor, nn

from astraios.errors import MissingExtraError, UsageError
from astraios.models.methods._targets import ROLES

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU, "linear": nn.Identity}
INITIALIZATIONS = ("bert", "lora")
_NO_MERGE = "a bottleneck adapter is not linear and can't be merged into its base: load it beside the base"


@dataclass
class BottleneckConfig(PeftConfig):
    """Configuration of bottleneck adapters. Fields are named as LLM-Adapters names them.

    Raises:
        ValueError: a field is out of range.
    """

    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Endings of the names of the modules to adapt, or a regular expression."}
    )
    exclude_modules: list[str] | str | None = field(default=None, metadata={"help": "Modules to leave alone."})
    input_modules: list[str] | None = field(
        default=None,
        metadata={"help": "Those of target_modules with the adapter before them; None: the feed-forward's first."},
    )
    bottleneck_size: int = field(default=256, metadata={"help": "Width b."})
    non_linearity: str = field(default="tanh", metadata={"help": f"f, one of {', '.join(ACTIVATIONS)}."})
    adapter_dropout: float = field(default=0.0, metadata={"help": "Dropout on the adapter's input."})
    scaling: float = field(default=1.0, metadata={"help": "Factor s."})
    init_weights: str = field(
        default="bert",
        metadata={"help": "bert: both matrices N(0, 0.02). lora: up is zero, so that tuning starts at the base."},
    )
    use_parallel_adapter: bool = field(default=False, metadata={"help": "All adapters beside their module."})
    use_adapterp: bool = field(default=False, metadata={"help": "Pfeiffer's: by default after the feed-forward only."})
    bias: str = field(default="none", metadata={"help": "Always none: adapters have no biases."})
    modules_to_save: list[str] | None = field(default=None, metadata={"help": "Other modules to train and save."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = PeftType.BOTTLENECK  # type: ignore[attr-defined]
        if self.bottleneck_size < 1:
            raise ValueError(f"bottleneck_size must be at least 1, not {self.bottleneck_size}")
        if self.non_linearity not in ACTIVATIONS:
            raise ValueError(f"non_linearity {self.non_linearity!r} is none of {', '.join(ACTIVATIONS)}")
        if self.init_weights not in INITIALIZATIONS:
            raise ValueError(f"init_weights {self.init_weights!r} is none of {', '.join(INITIALIZATIONS)}")
        if not 0 <= self.adapter_dropout < 1:
            raise ValueError(f"adapter_dropout must be in [0, 1), not {self.adapter_dropout}")
        if self.bias != "none":
            raise ValueError("bias must be none: bottleneck adapters have no biases")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]


class BottleneckLayer(nn.Module, BaseTunerLayer):
    """A linear layer of any kind (quantized or not) with bottleneck adapters around it."""

    adapter_layer_names = ("adapter_down", "adapter_up")
    other_param_names = ("place", "scaling", "activation", "dropout")

    def __init__(self, base_layer: nn.Module, adapter_name: str, config: BottleneckConfig, place: str) -> None:
        super().__init__()
        self.base_layer = base_layer
        base = self.get_base_layer()
        wide_in, wide_out = _get_in_out_features(base)
        if wide_in is None or wide_out is None:
            raise ValueError(f"target_modules: the widths of a {type(base).__name__} can't be told")
        self.in_features, self.out_features = wide_in, wide_out
        self.adapter_down, self.adapter_up = nn.ModuleDict({}), nn.ModuleDict({})
        self.activation, self.dropout = nn.ModuleDict({}), nn.ModuleDict({})
        self.place: dict[str, str] = {}
        self.scaling: dict[str, float] = {}
        self.merged_adapters: list[str] = []
        self._active_adapter = adapter_name
        self.update_layer(adapter_name, config, place)

    def update_layer(self, adapter_name: str, config: BottleneckConfig, place: str) -> None:
        """Add the adapter called `adapter_name` at `place` ("input", "output" or "parallel")."""
        wide_in = self.out_features if place == "output" else self.in_features
        wide_out = self.in_features if place == "input" else self.out_features
        self.place[adapter_name], self.scaling[adapter_name] = place, config.scaling
        self.activation[adapter_name] = ACTIVATIONS[config.non_linearity]()
        self.dropout[adapter_name] = nn.Dropout(config.adapter_dropout) if config.adapter_dropout else nn.Identity()
        down = nn.Linear(wide_in, config.bottleneck_size, bias=False)
        up = nn.Linear(config.bottleneck_size, wide_out, bias=False)
        nn.init.normal_(down.weight, std=0.02)
        if config.init_weights == "bert":
            nn.init.normal_(up.weight, std=0.02)
        else:
            nn.init.zeros_(up.weight)
        self.adapter_down[adapter_name], self.adapter_up[adapter_name] = down, up
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def adapt(self, name: str, x: Tensor) -> Tensor:
        """A(x): (..., d) to (..., d'), in the dtype of x."""
        down, up = self.adapter_down[name], self.adapter_up[name]
        dtype: torch.dtype = down.weight.dtype  # type: ignore[assignment]
        hidden = self.activation[name](down(self.dropout[name](x.to(dtype))))
        return (up(hidden) * self.scaling[name]).to(x.dtype)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        names = [] if self.disable_adapters else [name for name in self.active_adapters if name in self.adapter_down]
        placed = {place: [n for n in names if self.place[n] == place] for place in ("input", "parallel", "output")}
        beside = [self.adapt(name, x) for name in placed["parallel"]]
        for name in placed["input"]:
            x = x + self.adapt(name, x)
        result = self.base_layer(x, *args, **kwargs)
        for term in beside:
            result = result + term
        for name in placed["output"]:
            result = result + self.adapt(name, result)
        return result

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        raise UsageError(_NO_MERGE)

    unmerge = merge

    def __repr__(self) -> str:
        return "bottleneck." + super().__repr__()


class BottleneckModel(BaseTuner):
    """A model with bottleneck adapters in it."""

    prefix = "adapter_"
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  PEFT declares it so

    def _prepare_adapter_config(  # type: ignore[override]
        self, peft_config: BottleneckConfig, model_config: dict[str, Any]
    ) -> BottleneckConfig:
        kind = model_config.get("model_type")
        roles = ROLES.get(kind) if kind else None
        if peft_config.target_modules is None:
            if roles is None:
                raise ValueError(f"no default modules for a {kind!r} model: set target_modules")
            names = roles.mlp_out if peft_config.use_adapterp else (*roles.mlp_in, *roles.mlp_out)
            peft_config.target_modules = set(  # type: ignore[assignment]
                roles.attention_in if peft_config.use_parallel_adapter else names
            )
        if peft_config.input_modules is None and not peft_config.use_parallel_adapter:
            if roles is None:
                raise ValueError(
                    f"a {kind!r} model is not known well enough: set input_modules to those of target_modules that "
                    "take the adapter before them ([] for none)"
                )
            peft_config.input_modules = list(roles.mlp_in)
        return peft_config

    def _create_and_replace(  # type: ignore[override]
        self,
        peft_config: BottleneckConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        place = _place(peft_config, current_key)
        if isinstance(target, BottleneckLayer):
            target.update_layer(adapter_name, peft_config, place)
            return
        base = target.get_base_layer() if isinstance(target, BaseTunerLayer) else target
        if isinstance(base, nn.Embedding) or not hasattr(base, "weight") or base.weight is None:
            raise ValueError(f"target_modules: {current_key} is a {type(base).__name__}, not a linear layer")
        layer = BottleneckLayer(target, adapter_name, peft_config, place)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _check_merge_allowed(self) -> None:
        raise UsageError(_NO_MERGE)


def _place(config: BottleneckConfig, key: str) -> str:
    if config.use_parallel_adapter:
        return "parallel"
    before = any(key == name or key.endswith(f".{name}") for name in config.input_modules or ())
    return "input" if before else "output"


def _register() -> None:
    """Add the tuner to PEFT.

    `register_peft_method` takes only names that its enum has, so a member is added first: the one private touch.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    name = "BOTTLENECK"
    if name in PeftType.__members__:
        if PEFT_TYPE_TO_CONFIG_MAPPING.get(PeftType[name]) is not BottleneckConfig:
            raise MissingExtraError("peft>=0.21,<0.22", "train", "the bottleneck tuner")
        return
    try:
        member = str.__new__(PeftType, name)
        member._name_, member._value_ = name, name
        member.__objclass__ = PeftType  # type: ignore[attr-defined]
        member._sort_order_ = len(PeftType.__members__)  # type: ignore[attr-defined]
        setattr(PeftType, name, member)
        PeftType._member_map_[name] = member
        PeftType._value2member_map_[name] = member
        PeftType._member_names_.append(name)
        register_peft_method(
            name="bottleneck", config_cls=BottleneckConfig, model_cls=BottleneckModel, prefix=BottleneckModel.prefix
        )
    except (AttributeError, TypeError, ValueError, KeyError) as error:
        raise MissingExtraError("peft>=0.21,<0.22", "train", "the bottleneck tuner") from error


_register()
