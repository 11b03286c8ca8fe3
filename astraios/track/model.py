"""What a model tells of itself: name, sizes, what is trained, adapter, precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from astraios.track.facts import Facts

WRAPPERS = ("DistributedDataParallel", "DataParallel", "DeepSpeedEngine", "FullyShardedDataParallel", "OptimizedModule")
"""Classes that hold the model that they train."""
HEADS = ("ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice", "ForQuestionAnswering")
"""Ends of the names of architectures whose loss is no cross-entropy of tokens."""


def model_facts(model: Any) -> Facts:
    """Facts about a model that is trained, with or without an adapter.

    Parameters are those of the base model: an adapter's and virtual tokens do not count, tied ones count once, packed
    weights count as what they stand for. What is trained is counted as it is now: freeze and wrap before.

    Args:
        model: of torch; of transformers, PEFT or a module that holds one where there is more to know.
    """
    found = Facts()
    wrapped = _unwrapped(model)
    tuned = _language_model(wrapped)
    config, adapter = getattr(tuned, "config", None), _adapter(tuned)
    n_params, nonembedding = _count(tuned, config, adapter)
    n_trainable = sum(_size(p) for p in wrapped.parameters() if p.requires_grad)
    name = (adapter or {}).get("base_model_name_or_path") or getattr(config, "_name_or_path", None)
    found.add("model", {
        "model": str(name) if name else f"unnamed/{n_params}", "n_params": n_params,
        "n_params_nonembedding": nonembedding, "n_trainable": n_trainable,
        "revision": getattr(config, "_commit_hash", None) or (adapter or {}).get("revision"),
        "architecture": type(_base(tuned)).__name__,
    })  # fmt: skip
    if adapter is not None:
        method, found.settings = recognised(adapter, config)
        found.add("adapter", {"method": method})
    elif n_trainable == n_params:
        found.add("model", {"method": "fft"})
    found.train = {
        "quantization": _quantization(config),
        "dtype": str(getattr(tuned, "dtype", "")).removeprefix("torch."),
    }
    found.train = {name: value for name, value in found.train.items() if value}
    n_active = _active(tuned, config, n_params)
    found.about = {"n_active": n_active} if n_active else {}
    return found


def recognised(adapter: Mapping[str, Any], config: Any = None) -> tuple[str, dict[str, Any]]:
    """Tuning method and settings of an adapter of PEFT.

    Args:
        adapter: its configuration.
        config: of the base model, which says whether it is quantized.
    """
    from astraios.importers._models import peft_method
    from astraios.models.methods import recognise

    precision: Any = getattr(config, "quantization_config", None)
    told = {**adapter, "quantization_config": precision.to_dict() if hasattr(precision, "to_dict") else precision}
    return recognise(told) or (peft_method(adapter), {})


def is_language_model(model: Any) -> bool:
    """Whether its loss is a cross-entropy of tokens, as far as its class tells."""
    return not type(_base(_language_model(_unwrapped(model)))).__name__.endswith(HEADS)


def _unwrapped(model: Any) -> Any:
    while type(model).__name__ in WRAPPERS and (hasattr(model, "module") or hasattr(model, "_orig_mod")):
        model = model.module if hasattr(model, "module") else model._orig_mod
    return model


def _language_model(model: Any) -> Any:
    """The model of PEFT or transformers that a module is or holds; the module itself where there is none."""
    modules = list(model.modules())
    for has in ("peft_config", "config"):
        for module in modules:
            if has == "peft_config" and hasattr(module, has):
                return module
            if has == "config" and hasattr(getattr(module, has, None), "model_type"):
                return module
    return model


def _base(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _adapter(model: Any) -> dict[str, Any] | None:
    configs = getattr(model, "peft_config", None)
    if not configs:
        return None
    active = getattr(model, "active_adapter", None) or getattr(model, "active_adapters", lambda: None)
    active = active() if callable(active) else active
    name = active[0] if isinstance(active, list | tuple) and active else active
    config = configs.get(name) or next(iter(configs.values()))
    return {key: _plain(value) for key, value in config.to_dict().items()}


def _count(model: Any, config: Any, adapter: Any) -> tuple[int, int | None]:
    """Parameters of the base model in all, and without embeddings."""
    from astraios.models.counting import count_base, count_module

    if adapter is None and _quantization(config) is None and not _partitioned(model):
        return count_module(model)
    try:
        return count_base(_base(model).config)
    except Exception:  # An architecture that can't be built from its configuration is counted as it stands.
        total = sum(_size(p) for name, p in model.named_parameters() if not _is_added(model, name))
        return total, None


def _is_added(model: Any, name: str) -> bool:
    prefix = getattr(getattr(model, "base_model", None), "prefix", None)
    return "modules_to_save" in name or name.startswith("prompt_encoder") or bool(prefix and prefix in name)


def _size(parameter: Any) -> int:
    """Numbers in a parameter that is whole, shared out by DeepSpeed, or packed to four bits."""
    n = int(getattr(parameter, "ds_numel", None) or parameter.numel())
    packed = type(parameter).__name__ == "Params4bit"
    return n * 2 * int(parameter.element_size()) if packed else n


def _partitioned(model: Any) -> bool:
    return any(hasattr(parameter, "ds_numel") for parameter in model.parameters())


def _quantization(config: Any) -> str | None:
    found = getattr(config, "quantization_config", None)
    if found is None:
        return None
    told = found if isinstance(found, Mapping) else found.to_dict()
    if told.get("load_in_4bit"):
        return str(told.get("bnb_4bit_quant_type") or "4bit")
    return "8bit" if told.get("load_in_8bit") else str(told.get("quant_method") or "quantized")


def _active(model: Any, config: Any, n_params: int) -> int | None:
    """Parameters that a token meets in a mixture of experts; None for a dense model."""
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    n_experts = next((getattr(config, name) for name in names if getattr(config, name, None)), None)
    chosen = getattr(config, "num_experts_per_tok", None)
    if not n_experts or not chosen:
        return None
    experts = sum(_size(p) for name, p in _base(model).named_parameters() if ".experts." in name)
    return round(n_params - experts * (1 - chosen / n_experts))


def _plain(value: Any) -> Any:
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    value = getattr(value, "value", value)  # Of an enumeration.
    return value if isinstance(value, str | int | float | bool | None) else str(value)
