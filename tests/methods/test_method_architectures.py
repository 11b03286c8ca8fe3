"""The table of roles is right for every architecture in it: each name is a layer's, and the methods attach."""

# ruff: noqa: E402
from __future__ import annotations

from functools import lru_cache

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")

from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig

from astraios.errors import CellError
from astraios.models.counting import count_parameters
from astraios.models.methods import METHODS
from astraios.models.methods._targets import ROLES

DEPTH = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


@lru_cache
def one_layer(kind: str) -> PretrainedConfig:
    """The architecture's default configuration with a single layer."""
    config = AutoConfig.for_model(kind)
    for name in DEPTH:
        if hasattr(config, name):
            setattr(config, name, 1)
    for name in ("layer_types", "attention_layers"):
        if name in vars(config) and getattr(config, name):
            setattr(config, name, getattr(config, name)[:1])
    if getattr(config, "head_dim", 0) is None:
        config.head_dim = config.hidden_size // config.num_attention_heads
    if getattr(config, "num_key_value_heads", 0) is None:
        config.num_key_value_heads = config.num_attention_heads
    return config


@pytest.mark.parametrize("kind", ROLES)
def test_every_name_is_that_of_a_linear_layer(kind) -> None:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(one_layer(kind))
    layers = {path: module for path, module in model.named_modules() if "weight" in dict(module.named_parameters())}
    roles = ROLES[kind]
    for role in ("attention_in", "key_value", "attention_out", "mlp_in", "mlp_out"):
        for name in getattr(roles, role):
            found = [module for path, module in layers.items() if path.endswith(f".{name}")]
            assert len(found) == 1, (role, name, sorted(layers))
            assert found[0].weight.dim() == 2


@pytest.mark.parametrize("kind", ROLES)
def test_the_papers_methods_attach(kind) -> None:
    for name in ("lora", "ia3", "adapterh", "adapterp", "parallel", "adalora", "ln"):
        if (kind, name) == ("olmo", "ln"):
            continue  # its normalization has no parameters: the next test
        method = METHODS.get(name)
        assert count_parameters(one_layer(kind), method, method.with_defaults({})).n_trainable > 0


@pytest.mark.parametrize("kind", ["mamba", "mpt", "xglm"])
@pytest.mark.parametrize("name", ["prompt", "ptuning"])
def test_virtual_tokens_need_no_heads(kind, name) -> None:
    method = METHODS.get(name)
    config = one_layer(kind)
    counted = count_parameters(config, method, method.with_defaults({}))
    assert counted.n_trainable >= 30 * config.hidden_size


@pytest.mark.promise("what can't be trained is said in one line")
def test_a_method_that_does_not_fit_is_one_line() -> None:
    method = METHODS.get("ln")
    with pytest.raises(CellError, match="'ln' does not fit a olmo model: its normalization layers have no parameters"):
        count_parameters(one_layer("olmo"), method, method.with_defaults({}))
