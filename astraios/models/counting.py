"""Parameters of a base model under a tuning method, counted on torch's meta device: nothing allocated or fetched."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError
from astraios.models.quiet import hush
from astraios.records import ParameterCount

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel

    from astraios.models.methods import TuningMethod


def count_parameters(
    config: PretrainedConfig, method: TuningMethod, settings: Mapping[str, Any], steps: int = 200
) -> ParameterCount:
    """What `method` trains of a model of this configuration.

    The method is really attached, to a model without storage, so that the count is that of the run and not of a
    formula. Tied parameters count once; AdaLoRA's frozen rank counter does not count.

    Args:
        config: configuration of the base model.
        method: tuning method.
        settings: as `method.with_defaults` gives them.
        steps: optimizer steps planned.

    Raises:
        UsageError: a setting is out of range, or names a module that the model has not.
        CellError: the architecture can't be built, or the method does not fit it.
    """
    total, nonembedding = count_base(config)
    return ParameterCount(
        n_params=total,
        n_params_nonembedding=nonembedding,
        n_trainable=method.n_trainable(copy.deepcopy(without_storage(config)), settings, steps),
    )


def count_base(config: PretrainedConfig) -> tuple[int, int]:
    """Parameters of a base model, in all and without embeddings.

    Raises:
        CellError: the architecture can't be built.
    """
    hush()
    return count_module(without_storage(config))


def count_module(model: Any) -> tuple[int, int]:
    """Parameters of a model as it stands, in all and without embeddings; tied ones count once."""
    total = sum(parameter.numel() for parameter in model.parameters())
    return total, total - _embedding_params(model)


_MOST_LAYERS, _WIDEST = 1_000, 10_000_000


def described(settings: Mapping[str, Any]) -> PretrainedConfig | None:
    """The configuration that somebody's config.json describes, without code of its own and quantization.

    None where transformers is not here or does not know the model as a causal language model, or where it has more
    layers or wider ones than any model: even without storage, building one takes time and memory for every layer.
    """
    architecture = next(iter(settings.get("architectures") or ()), "ForCausalLM")
    if not str(architecture).endswith(("ForCausalLM", "LMHeadModel")):
        return None
    fields = {name: value for name, value in settings.items() if name not in ("auto_map", "quantization_config")}
    for name, value in fields.items():
        if isinstance(value, int) and value > (_MOST_LAYERS if "layers" in name or name == "n_layer" else _WIDEST):
            return None
    try:
        from transformers import AutoConfig

        hush()
        model_type = str(fields.pop("model_type"))
        names = AutoConfig.for_model(model_type).to_dict()
        return AutoConfig.for_model(model_type, **{name: fields[name] for name in fields if name in names})
    except Exception:  # whatever a stranger's fields make of a configuration class
        return None


def count_described(settings: Mapping[str, Any]) -> int | None:
    """Parameters of the base model that a config.json describes, or None where it can't be built here."""
    config = described(settings)
    if config is None:
        return None
    try:
        return count_base(config)[0]
    except (ImportError, CellError):
        return None


def attachable(settings: Mapping[str, Any]) -> PreTrainedModel | None:
    """A model without storage of the configuration in a config.json, to attach an adapter to; None as above."""
    config = described(settings)
    if config is None:
        return None
    try:
        return copy.deepcopy(without_storage(config))
    except (ImportError, CellError):
        return None


def count_attached(base: Mapping[str, Any], adapter: Mapping[str, Any]) -> int | None:
    """Parameters that an adapter of PEFT trains, attached to a model without storage; None where PEFT can't do that.

    Args:
        base: content of the base's config.json.
        adapter: content of adapter_config.json.
    """
    model = attachable(base)
    if model is None:
        return None
    try:
        import torch
        from peft import get_peft_config, get_peft_model

        with torch.device("meta"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attached = get_peft_model(model, get_peft_config(dict(adapter)))
    except Exception:  # PEFT raises whatever its methods raise
        return None
    return sum(parameter.numel() for parameter in attached.parameters() if parameter.requires_grad)


_BUILT: dict[str, PreTrainedModel] = {}


def without_storage(config: PretrainedConfig) -> PreTrainedModel:
    """The model of a configuration on torch's meta device; built once for each, so nothing may change it.

    Raises:
        CellError: it can't be built.
    """
    import torch
    from transformers import AutoModelForCausalLM

    key = json.dumps([type(config).__name__, config.to_dict()], sort_keys=True, default=str)
    if key not in _BUILT:
        try:
            with torch.device("meta"):
                _BUILT[key] = AutoModelForCausalLM.from_config(copy.deepcopy(config))
        except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RuntimeError, ImportError) as error:
            line = (str(error) or type(error).__name__).splitlines()[0]
            raise CellError(
                f"no causal language model can be built of a {config.model_type!r} configuration: {line}"
            ) from error
    return _BUILT[key]


def _embedding_params(model: Any) -> int:
    """Parameters of token and position embeddings and of the output layer (its weight is often the tokens')."""
    from torch import nn

    modules: list[nn.Module | None] = [module for module in model.modules() if isinstance(module, nn.Embedding)]
    if hasattr(model, "get_input_embeddings"):
        modules += [model.get_input_embeddings(), model.get_output_embeddings()]
    unique = {id(p): p.numel() for module in modules if module is not None for p in module.parameters()}
    return sum(unique.values())
