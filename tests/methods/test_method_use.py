"""What users do with a tuned model beside training it: generate, and save memory by recomputing activations."""

# ruff: noqa: E402
from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")

from tuning_helpers import attached, optimizer, tokens, train

from astraios.models.methods import METHODS


@pytest.mark.parametrize("kind", ["gpt_bigcode", "llama"])
@pytest.mark.parametrize("name", METHODS.names())
def test_generates_with_a_cache_what_it_would_without(bases, name, kind) -> None:
    """Greedy, from a batch of prompts of equal length, against one full pass a token."""
    method, model, settings = attached(bases[kind], name)
    train(method, model, settings, optimizer(model), range(1, 4))
    grown = prompt = tokens()[:, :8]
    with torch.no_grad():
        for _ in range(6):
            grown = torch.cat([grown, model(input_ids=grown).logits[:, -1:].argmax(-1)], dim=1)
        generated = model.generate(
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=6,
            do_sample=False,
            eos_token_id=None,
        )
    assert torch.equal(generated, grown)


@pytest.mark.parametrize("name", METHODS.names())
def test_recomputing_activations_changes_nothing(bases, name) -> None:
    overrides = {"dropout": 0.0} if "dropout" in METHODS.get(name).settings else {}
    runs, passes = [], []
    for recompute in (False, True):
        method, model, settings = attached(bases["gpt_bigcode"], name, overrides)
        block = next(one for path, one in model.named_modules() if path.endswith("transformer.h.0"))
        calls: list[int] = []
        block.attn.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        if recompute:
            model.activation_checkpointing_enable({"use_reentrant": False})
        runs.append(train(method, model, settings, optimizer(model), range(1, 4)))
        passes.append(len(calls))
    assert passes == [3, 6]
    assert runs[0] == pytest.approx(runs[1], abs=1e-6)
