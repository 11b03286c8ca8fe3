"""Which modules a method adapts: the parts of a transformer block by their role, for each architecture.

A role is looked up by the model type of the base's configuration. An architecture that isn't listed works too, once
the sweep names `target_modules` itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astraios.errors import UsageError

if TYPE_CHECKING:
    from peft import PeftConfig
    from torch import nn
    from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class Roles:
    """Names of a block's linear modules; a name matches every module whose dotted path ends in it."""

    attention_in: tuple[str, ...]
    """Query, key and value projections."""
    key_value: tuple[str, ...]
    """Those of keys and values, or the fused projection where they can't be told apart."""
    attention_out: tuple[str, ...]
    mlp_in: tuple[str, ...]
    """Expanding projections of the feed-forward part; two where it is gated."""
    mlp_out: tuple[str, ...]


_QKV = ("q_proj", "k_proj", "v_proj")
_KV = ("k_proj", "v_proj")
_GATED = Roles(_QKV, _KV, ("o_proj",), ("gate_proj", "up_proj"), ("down_proj",))
_FUSED_GATED = Roles(("qkv_proj",), ("qkv_proj",), ("o_proj",), ("gate_up_proj",), ("down_proj",))
_UP_DOWN = Roles(_QKV, _KV, ("o_proj",), ("up_proj",), ("down_proj",))
_GLM = Roles(_QKV, _KV, ("o_proj",), ("gate_up_proj",), ("down_proj",))
_OPT = Roles(_QKV, _KV, ("out_proj",), ("fc1",), ("fc2",))
_GPT2 = Roles(("c_attn",), ("c_attn",), ("attn.c_proj",), ("c_fc",), ("mlp.c_proj",))
_FUSED = Roles(("query_key_value",), ("query_key_value",), ("attention.dense",), ("dense_h_to_4h",), ("dense_4h_to_h",))
_BLOOM = Roles(
    ("query_key_value",), ("query_key_value",), ("self_attention.dense",), ("dense_h_to_4h",), ("dense_4h_to_h",)
)

ROLES: Mapping[str, Roles] = {
    "gpt_bigcode": _GPT2,
    "gpt2": _GPT2,
    "gpt_neox": _FUSED,
    "bloom": _BLOOM,
    "falcon": _BLOOM,
    "starcoder2": Roles(_QKV, _KV, ("o_proj",), ("c_fc",), ("mlp.c_proj",)),
    "opt": _OPT,
    "xglm": _OPT,
    "biogpt": _OPT,
    "phi": Roles(_QKV, _KV, ("dense",), ("fc1",), ("fc2",)),
    "phi3": _FUSED_GATED,
    "glm": _GLM,
    "glm4": _GLM,
    "mpt": Roles(("Wqkv",), ("Wqkv",), ("attn.out_proj",), ("ffn.up_proj",), ("ffn.down_proj",)),
    "persimmon": Roles(
        ("query_key_value",), ("query_key_value",), ("self_attn.dense",), ("dense_h_to_4h",), ("dense_4h_to_h",)
    ),
    "gptj": Roles(_QKV, _KV, ("out_proj",), ("fc_in",), ("fc_out",)),
    "gpt_neo": Roles(_QKV, _KV, ("out_proj",), ("c_fc",), ("mlp.c_proj",)),
    "codegen": Roles(("qkv_proj",), ("qkv_proj",), ("out_proj",), ("fc_in",), ("fc_out",)),
    **dict.fromkeys(
        (
            *("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text", "olmo", "olmo2"),
            *("olmo3", "granite", "cohere", "cohere2", "stablelm", "smollm3", "seed_oss", "ernie4_5", "exaone4"),
            *("hunyuan_v1_dense", "ministral3", "bitnet", "helium", "cwm", "vaultgemma"),
        ),
        _GATED,
    ),
    **dict.fromkeys(("nemotron", "arcee", "apertus"), _UP_DOWN),
}


def by_role(base: PretrainedConfig, method: str, *roles: str) -> list[str]:
    """Names of the modules that play `roles` in the architecture of `base`.

    Raises:
        UsageError: nobody knows the architecture; the line names the setting that says it.
    """
    found = ROLES.get(base.model_type)
    if found is None:
        raise UsageError(
            f"tuning method {method!r} has no default modules for a {base.model_type!r} model: "
            f"set method.{method}.target_modules"
        )
    return [name for role in roles for name in getattr(found, role)]


def targets(
    base: PretrainedConfig, settings: Mapping[str, Any], method: str, *roles: str, peft_table: str | None = None
) -> list[str] | str:
    """The modules to adapt: those the sweep names, else those of the roles, else what PEFT's own table says.

    Args:
        base: configuration of the base model.
        settings: the method's settings; `target_modules` is a list of name endings, a regular expression that
            matches whole dotted paths, "all-linear", or None for the default.
        method: name of the method, for errors.
        roles: fields of `Roles`.
        peft_table: "LORA" or "IA3": table of the PEFT library to ask about an architecture that isn't in ours.
    """
    named = settings.get("target_modules")
    if named is not None:
        return named if isinstance(named, str) else list(named)
    if base.model_type not in ROLES and peft_table:
        from peft.utils import constants

        table = getattr(constants, f"TRANSFORMERS_MODELS_TO_{peft_table}_TARGET_MODULES_MAPPING")
        if base.model_type in table:
            names = table[base.model_type]
            return names if isinstance(names, str) else list(names)
    return by_role(base, method, *roles)


def check_targets(model: nn.Module, config: PeftConfig, method: str) -> None:
    """Every module that the configuration names must be there: PEFT itself is content if any is.

    Raises:
        UsageError: a name matches nothing, or names a container rather than a layer.
    """
    paths = [path for path, _ in model.named_modules() if path]
    for setting in ("target_modules", "feedforward_modules", "input_modules"):
        named = getattr(config, setting, None)
        if named is None or named == "all-linear":
            continue
        for name in [named] if isinstance(named, str) else sorted(named):
            if isinstance(named, str):
                try:
                    hit = any(re.fullmatch(name, path) for path in paths)
                except re.error as error:
                    raise UsageError(f"method.{method}.{setting} {name!r} is no regular expression: {error}") from None
            else:
                hit = any(path == name or path.endswith(f".{name}") for path in paths)
            if not hit:
                kind = getattr(getattr(model, "config", None), "model_type", type(model).__name__)
                raise UsageError(
                    f"method.{method}.{setting}: {name!r} matches no module of a {kind} model; "
                    f"it has {', '.join(_linear_names(model))}"
                )


def matched(model: nn.Module, config: PeftConfig) -> list[tuple[str, nn.Module]]:
    """(path, module) of all that the configuration targets."""
    from peft.tuners.tuners_utils import check_target_module_exists

    return [(path, one) for path, one in model.named_modules() if path and check_target_module_exists(config, path)]


def shapes(model: nn.Module, config: PeftConfig) -> list[tuple[int, int]]:
    """(width out, width in) of each matrix that the configuration targets."""
    found = []
    for _, module in matched(model, config):
        width_out, width_in = module.weight.shape  # type: ignore[misc]
        found.append((int(width_out), int(width_in)))
    return found


def _linear_names(model: nn.Module) -> list[str]:
    """Distinct endings (parent.name) of the modules with a weight matrix."""
    names: dict[str, None] = {}
    for path, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if path and weight is not None and weight.dim() == 2 and not list(module.children()):
            names.setdefault(".".join(part for part in path.split(".")[-2:] if not part.isdigit()))
    return sorted(names)
