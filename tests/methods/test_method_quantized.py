# ruff: noqa: E402
"""Methods over 8-bit and 4-bit bases, on a CPU."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")
pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")

from tuning_helpers import attached, base, logits, optimizer, train

from astraios.errors import CellError
from astraios.models.methods import METHODS

# DoRA over 8-bit needs a GPU.
QUANTIZABLE = [method.name for method in METHODS if method.quantizable and method.name != "dora"]
CASES = [(name, "8bit") for name in QUANTIZABLE] + [
    (name, "nf4") for name in ("qlora", "adapterh", "ia3", "ptuning", "dora")
]


def _linear_types(model) -> set[str]:
    return {type(m).__name__ for path, m in model.named_modules() if path.endswith(("c_fc", "c_fc.base_layer"))}


@pytest.mark.parametrize(("name", "quantization"), CASES)
def test_trains_saves_and_loads_over_a_quantized_base(bases, tmp_path, name, quantization) -> None:
    where = bases["gpt_bigcode"]
    method, model, settings = attached(where, name, quantization=quantization)
    assert _linear_types(model) & {"Linear8bitLt", "Linear4bit"}
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    losses = train(method, model, settings, optimizer(model), range(1, 4))
    assert all(torch.isfinite(torch.tensor(losses)))
    for parameter_name, parameter in model.named_parameters():
        if parameter_name in frozen:
            assert torch.equal(parameter, frozen[parameter_name])
    method.save(model, tmp_path)
    loaded = method.load(base(where, quantization=quantization), tmp_path)
    assert (logits(loaded) - logits(model)).abs().max() <= 1e-5
    with model.disable_adapter():
        torch.testing.assert_close(logits(model), logits(base(where, quantization=quantization)))


def test_dora_over_8_bit_is_refused_on_a_cpu(bases) -> None:
    with pytest.raises(CellError, match=r'set train\.quantization = "nf4" or "none"'):
        attached(bases["gpt_bigcode"], "dora", quantization="8bit")


@pytest.mark.parametrize("quantization", ["8bit", "nf4"])
def test_training_goes_on_after_an_evaluation(bases, quantization) -> None:
    """On some CPUs bitsandbytes repacks 4-bit weights in evaluation, and can't train with them any more."""
    runs = []
    for evaluate in (False, True):
        method, model, settings = attached(bases["gpt_bigcode"], "adapterh", quantization=quantization)
        opt = optimizer(model)
        losses = train(method, model, settings, opt, range(1, 3))
        if evaluate:
            logits(model)
        runs.append(losses + train(method, model, settings, opt, range(3, 5)))
    assert runs[0] == runs[1]


def test_a_quantized_base_is_near_the_base(bases) -> None:
    exact = logits(base(bases["gpt_bigcode"]))
    for quantization, within in (("8bit", 0.02), ("nf4", 0.2)):
        near = logits(base(bases["gpt_bigcode"], quantization=quantization))
        assert 0 < (near - exact).norm() / exact.norm() < within
