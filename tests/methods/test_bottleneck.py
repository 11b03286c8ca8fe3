# ruff: noqa: E402
"""The bottleneck tuner against formulas worked out by hand in numpy, forward and gradients, and its file format."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
peft = pytest.importorskip("peft", reason="needs the extra astraios[train]")

from peft import PeftModel, get_peft_model
from peft.utils import PeftType
from torch import nn
from tuning_helpers import attached, base, logits, optimizer, tokens, train

from astraios.errors import UsageError
from astraios.models.bottleneck import BottleneckConfig, BottleneckLayer

D_IN, D_OUT, WIDTH, SCALE = 7, 5, 3, 1.7


def by_hand(place, x, w, c, down, up, g):
    """(y, dx, ddown, dup) of y for the upstream gradient g; x (n, d_in), w (d_out, d_in), rows are examples.

    With u = the adapter's input, z = tanh(u D'), A = s z U': dA/dU = s g' z, dz = s g U, du = (dz (1 - z^2)) D.
    """

    def adapter(u):
        z = np.tanh(u @ down.T)
        return z, SCALE * z @ up.T

    def back(u, z, g):
        dz = SCALE * (g @ up) * (1 - z**2)
        return dz @ down, dz.T @ u, SCALE * g.T @ z

    if place == "parallel":
        z, a = adapter(x)
        du, ddown, dup = back(x, z, g)
        return x @ w.T + c + a, g @ w + du, ddown, dup
    if place == "input":
        z, a = adapter(x)
        inner = g @ w
        du, ddown, dup = back(x, z, inner)
        return (x + a) @ w.T + c, inner + du, ddown, dup
    h = x @ w.T + c
    z, a = adapter(h)
    du, ddown, dup = back(h, z, g)
    return h + a, (g + du) @ w, ddown, dup


@pytest.mark.promise("bottleneck adapters are their papers' formulas")
@pytest.mark.parametrize("place", ["input", "output", "parallel"])
def test_forward_and_gradients_are_the_formulas(place) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(D_IN, D_OUT)
    config = BottleneckConfig(bottleneck_size=WIDTH, scaling=SCALE, target_modules=["x"])
    layer = BottleneckLayer(linear, "default", config, place).double()
    down, up = layer.adapter_down["default"].weight, layer.adapter_up["default"].weight
    with torch.no_grad():  # larger than at the start, so that tanh bends
        down.normal_(std=0.8)
        up.normal_(std=0.8)
    x = torch.randn(4, D_IN, dtype=torch.float64, requires_grad=True)
    g = torch.randn(4, D_OUT, dtype=torch.float64)
    y = layer(x)
    y.backward(g)
    numbers = (t.detach().numpy() for t in (x, linear.weight, linear.bias, down, up, g))
    expected = by_hand(place, *numbers)
    for got, want in zip((y.detach(), x.grad, down.grad, up.grad), expected, strict=True):
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.promise("bottleneck adapters are their papers' formulas")
@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("adapterh", {"c_fc": "input", "mlp.c_proj": "output"}),
        ("adapterp", {"mlp.c_proj": "output"}),
        ("parallel", {"c_attn": "parallel"}),
    ],
)
def test_each_method_sits_where_the_paper_puts_it(bases, name, places) -> None:
    _, model, _ = attached(bases["gpt_bigcode"], name)
    found = {path: m.place["default"] for path, m in model.named_modules() if isinstance(m, BottleneckLayer)}
    assert len(found) == 2 * len(places)
    for path, place in found.items():
        assert next(want for ending, want in places.items() if path.endswith(f".{ending}")) == place


@pytest.mark.promise("bottleneck adapters are their papers' formulas")
@pytest.mark.parametrize("name", ["adapterh", "adapterp", "parallel"])
def test_whole_model_equals_hooks_of_the_formulas(bases, name) -> None:
    """Logits and the adapters' gradients equal those of a plain model with the formulas hooked around its layers."""
    _, model, _ = attached(bases["gpt_bigcode"], name)
    plain = base(bases["gpt_bigcode"])
    weights = {}
    for path, layer in model.named_modules():
        if not isinstance(layer, BottleneckLayer):
            continue
        down = layer.adapter_down["default"].weight.detach().clone().requires_grad_()
        up = layer.adapter_up["default"].weight.detach().clone().requires_grad_()
        weights[path] = (down, up, layer)

        def adapter(u, down=down, up=up):
            return torch.tanh(u @ down.T) @ up.T

        inner = plain.get_submodule(path.removeprefix("base_model.model."))
        if layer.place["default"] == "input":
            inner.register_forward_pre_hook(lambda m, args, a=adapter: (args[0] + a(args[0]),))
        elif layer.place["default"] == "output":
            inner.register_forward_hook(lambda m, args, out, a=adapter: out + a(out))
        else:
            inner.register_forward_hook(lambda m, args, out, a=adapter: out + a(args[0]))
    ours, theirs = model(input_ids=tokens()).logits, plain(input_ids=tokens()).logits
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    ours.pow(2).mean().backward()
    theirs.pow(2).mean().backward()
    for down, up, layer in weights.values():
        torch.testing.assert_close(layer.adapter_down["default"].weight.grad, down.grad, rtol=1e-4, atol=1e-7)
        torch.testing.assert_close(layer.adapter_up["default"].weight.grad, up.grad, rtol=1e-4, atol=1e-7)


def test_initial_weights_are_normal_or_start_at_the_base(bases) -> None:
    _, model, _ = attached(bases["gpt_bigcode"], "adapterp")
    layer = next(m for m in model.modules() if isinstance(m, BottleneckLayer))
    for factor in (layer.adapter_down, layer.adapter_up):
        assert factor["default"].weight.std().item() == pytest.approx(0.02, rel=0.05)
    _, model, _ = attached(bases["gpt_bigcode"], "adapterp", {"init_weights": "lora"})
    assert torch.equal(logits(model), logits(base(bases["gpt_bigcode"])))


def test_computes_in_float32_over_a_bfloat16_base(bases) -> None:
    _, model, _ = attached(bases["gpt_bigcode"], "adapterh", dtype="bfloat16")
    layers = [m for m in model.modules() if isinstance(m, BottleneckLayer)]
    assert {m.adapter_up["default"].weight.dtype for m in layers} == {torch.float32}
    assert layers[0](torch.ones(1, 64, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert model(input_ids=tokens()).logits.dtype == torch.bfloat16


def test_refuses_to_be_merged(bases) -> None:
    _, model, _ = attached(bases["llama"], "parallel")
    with pytest.raises(UsageError, match="can't be merged"):
        model.merge_and_unload()


def test_unloads_to_the_base(bases) -> None:
    _, model, _ = attached(bases["llama"], "adapterh")
    assert torch.equal(logits(model.unload()), logits(base(bases["llama"])))


def test_two_adapters_side_by_side(bases) -> None:
    """A second adapter joins, each can be chosen, and a removed one is gone."""
    _, model, _ = attached(bases["llama"], "adapterp")
    first = logits(model)
    config = BottleneckConfig(task_type="CAUSAL_LM", target_modules=["down_proj"], input_modules=[], bottleneck_size=8)
    model.add_adapter("second", config)
    torch.testing.assert_close(logits(model), first)
    model.set_adapter("second")
    assert not torch.equal(logits(model), first)
    model.delete_adapter("second")
    model.set_adapter("default")
    torch.testing.assert_close(logits(model), first)


def test_reads_the_papers_checkpoint_format(bases, tmp_path) -> None:
    """A directory as LLM-Adapters' fork of PEFT writes it: its type, its fields, torch's pickle, no adapter names."""
    method, model, settings = attached(bases["gpt_bigcode"], "adapterh", {"bottleneck_size": 6})
    train(method, model, settings, optimizer(model), range(1, 3))
    state = {
        key.replace(".default.", "."): value
        for key, value in model.state_dict().items()
        if "adapter_down" in key or "adapter_up" in key
    }
    assert "base_model.model.transformer.h.0.mlp.c_fc.adapter_down.weight" in state
    torch.save(state, tmp_path / "adapter_model.bin")
    fields = {
        "peft_type": "BOTTLENECK",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "bigcode/starcoderbase-1b",
        "bottleneck_size": 6,
        "non_linearity": "tanh",
        "adapter_dropout": 0.0,
        "scaling": 1.0,
        "init_weights": "bert",
        "bias": "none",
        "target_modules": ["c_fc", "mlp.c_proj"],
        "use_parallel_adapter": False,
        "use_adapterp": False,
        "modules_to_save": None,
        "inference_mode": True,
    }
    (tmp_path / "adapter_config.json").write_text(json.dumps(fields))
    loaded = PeftModel.from_pretrained(base(bases["gpt_bigcode"]), str(tmp_path))
    assert torch.equal(logits(loaded), logits(model))


def test_auto_class_loads_base_and_adapter(bases, tmp_path) -> None:
    from peft import AutoPeftModelForCausalLM

    method, model, settings = attached(bases["llama"], "parallel")
    train(method, model, settings, optimizer(model), range(1, 3))
    method.save(model, tmp_path)
    loaded = AutoPeftModelForCausalLM.from_pretrained(str(tmp_path))
    assert (logits(loaded) - logits(model)).abs().max() <= 1e-5


def test_is_registered_once_and_as_pefts_own() -> None:
    from astraios.models import bottleneck

    bottleneck._register()  # again: nothing happens
    assert PeftType("BOTTLENECK") is PeftType.BOTTLENECK is PeftType["BOTTLENECK"]
    assert [str(one.value) for one in PeftType].count("BOTTLENECK") == 1
    assert peft.get_peft_config({"peft_type": "BOTTLENECK", "bottleneck_size": 4}).bottleneck_size == 4


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"bottleneck_size": 0}, "bottleneck_size"),
        ({"non_linearity": "tang"}, "non_linearity"),
        ({"init_weights": "ones"}, "init_weights"),
        ({"adapter_dropout": 1.0}, "adapter_dropout"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_a_wrong_field_is_named(fields, field) -> None:
    with pytest.raises(ValueError, match=field):
        BottleneckConfig(**fields)


def test_embeddings_are_refused(bases) -> None:
    config = BottleneckConfig(task_type="CAUSAL_LM", target_modules=["wte"])
    with pytest.raises(ValueError, match=r"target_modules: transformer\.wte is a Embedding"):
        get_peft_model(base(bases["gpt_bigcode"]), config)
