# ruff: noqa: E402
"""Every method over every precision of the base in bfloat16, as a GPU has it: trained, resumed, generated with."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")
pytest.importorskip("bitsandbytes", reason="needs bitsandbytes")

from tuning_helpers import STEPS, attached, base, optimizer, tokens, train

from astraios.errors import AstraiosError
from astraios.evaluate.generate.hf import Generator
from astraios.evaluate.generate.requests import Request
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS

PRECISIONS = (None, "8bit", "nf4")
BFLOAT16 = {"dtype": "bfloat16"}


def _refusal(name: str, quantization: str | None, config) -> str | None:
    """The line in which a method refuses a precision, or None."""
    method = METHODS.get(name)
    try:
        method.check(config, method.with_defaults({}), STEPS, quantization=quantization)
    except AstraiosError as error:
        return str(error)
    # DoRA over 8 bits needs a GPU, which a check of the configuration can't know.
    return "DoRA" if (name, quantization) == ("dora", "8bit") else None


@pytest.mark.promise("the GPU path: what a machine without one can show of it")
@pytest.mark.parametrize("quantization", PRECISIONS)
@pytest.mark.parametrize("name", METHODS.names())
def test_trains_resumes_and_generates_in_bfloat16(bases, tmp_path, name: str, quantization: str | None) -> None:
    where = bases["gpt_bigcode"]
    how = {**BFLOAT16, "quantization": quantization}
    refused = _refusal(name, quantization, base(where).config)
    if refused:
        assert "\n" not in refused
        with pytest.raises(AstraiosError, match=r"train\.quantization"):
            _try(where, name, how)
        return
    method, model, settings = attached(where, name, **how)
    opt = optimizer(model)
    losses = train(method, model, settings, opt, range(1, 3))
    assert all(map(torch.isfinite, map(torch.tensor, losses)))

    torch.manual_seed(99)
    again = method.attach(base(where, **how), settings, STEPS)
    method.load_trainable_state(again, method.trainable_state(model))
    resumed = optimizer(again)
    resumed.load_state_dict(opt.state_dict())
    assert _states(model) == _states(again)
    torch.manual_seed(3)
    whole = train(method, model, settings, opt, range(3, 4))
    torch.manual_seed(3)
    assert train(method, again, settings, resumed, range(3, 4)) == whole

    method.save(model, tmp_path / name)
    loaded = method.load(base(where, **how), tmp_path / name)
    _, rung = resolve(str(where))
    tokenizer = resolve(str(where))[0].load(rung.model_id)[1]
    for one in (model, loaded):
        # The hidden states stay in the model's precision all the way.
        with torch.inference_mode():
            output = one(input_ids=tokens(), use_cache=True)
        assert output.logits.dtype == torch.bfloat16
        assert {layer.keys.dtype for layer in output.past_key_values.layers} == {torch.bfloat16}
        [(_, answer)] = Generator(one, tokenizer, 16).run([Request("a", 0, "t1 t2 t3")])
        assert isinstance(answer, str)


def _try(where, name: str, how: dict) -> None:
    method = METHODS.get(name)
    method.check(base(where).config, method.with_defaults({}), STEPS, quantization=how["quantization"])
    attached(where, name, **how)


def _states(model) -> list[float]:
    return [float(p.detach().float().sum()) for p in model.parameters() if p.requires_grad]
