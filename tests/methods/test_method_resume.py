# ruff: noqa: E402
"""Stopped and resumed, a method goes on as if nothing had happened; AdaLoRA's own business is here too."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra astraios[train]")
pytest.importorskip("peft", reason="needs the extra astraios[train]")

from tuning_helpers import STEPS, attached, base, logits, optimizer, tokens, train

from astraios.errors import CellError, UsageError
from astraios.models.methods import METHODS

SCALED = {"schedule": "scaled", "delta_t": 1, "dropout": 0.0}


def _settings(name: str) -> dict:
    if name == "adalora":
        return SCALED
    return {"dropout": 0.0} if "dropout" in METHODS.get(name).settings else {}


@pytest.mark.promise("an interrupted run ends like one that was not")
@pytest.mark.parametrize("name", METHODS.names())
def test_resume_equals_no_interruption(bases, name) -> None:
    """12 steps in one go, and 5 with 7 more in a model built anew from `trainable_state`: the same bits."""
    overrides = _settings(name)
    method, whole, settings = attached(bases["gpt_bigcode"], name, overrides)
    opt = optimizer(whole)
    losses = train(method, whole, settings, opt, range(1, 13))

    _, first, _ = attached(bases["gpt_bigcode"], name, overrides)
    opt = optimizer(first)
    halves = train(method, first, settings, opt, range(1, 6))
    state, optimizer_state = method.trainable_state(first), opt.state_dict()
    torch.manual_seed(99)
    second = method.attach(base(bases["gpt_bigcode"]), settings, STEPS)
    method.load_trainable_state(second, state)
    opt = optimizer(second)
    opt.load_state_dict(optimizer_state)
    halves += train(method, second, settings, opt, range(6, 13))

    assert halves == losses
    assert torch.equal(logits(second), logits(whole))
    for mine, theirs in zip(method.trainable_state(second).items(), method.trainable_state(whole).items(), strict=True):
        assert mine[0] == theirs[0]
        assert torch.equal(mine[1], theirs[1])


def test_state_is_a_copy(bases) -> None:
    method, model, settings = attached(bases["llama"], "lora")
    state = method.trainable_state(model)
    kept = {name: value.clone() for name, value in state.items()}
    train(method, model, settings, optimizer(model), range(1, 3))
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_ptunings_state_holds_the_encoder_and_its_file_does_not(bases, tmp_path) -> None:
    from safetensors import safe_open

    method, model, _ = attached(bases["gpt_bigcode"], "ptuning")
    assert any("mlp_head" in name for name in method.trainable_state(model))
    method.save(model, tmp_path)
    with safe_open(tmp_path / "adapter_model.safetensors", "pt") as saved:
        assert set(saved.keys()) == {"prompt_embeddings"}


def test_a_foreign_state_is_refused(bases) -> None:
    lora, model, _ = attached(bases["gpt_bigcode"], "lora")
    other, wider, _ = attached(bases["gpt_bigcode"], "lora", {"rank": 4})
    with pytest.raises(CellError, match="not of this lora run"):
        lora.load_trainable_state(model, other.trainable_state(wider))


def test_adaloras_regularizer_is_what_peft_adds_to_the_loss(bases) -> None:
    """And so it is what must not be called cross-entropy."""
    method, model, _ = attached(bases["gpt_bigcode"], "adalora")
    x = tokens()
    out = model(input_ids=x, labels=x)
    entropy = torch.nn.functional.cross_entropy(out.logits[:, :-1].flatten(0, 1), x[:, 1:].flatten())
    assert method.regularizer(model) > 0
    assert (out.loss - entropy).item() == pytest.approx(method.regularizer(model).item(), abs=1e-5)


@pytest.mark.parametrize("name", [name for name in METHODS.names() if name != "adalora"])
def test_no_other_method_has_a_regularizer(bases, name) -> None:
    method, model, _ = attached(bases["gpt_bigcode"], name)
    assert method.regularizer(model) is None


def test_adalora_allocates_ranks_and_keeps_them_in_the_file(bases, tmp_path) -> None:
    method, model, settings = attached(bases["gpt_bigcode"], "adalora", SCALED)
    train(method, model, settings, optimizer(model), range(1, STEPS + 1))
    ranks = model.peft_config["default"].rank_pattern
    modules = len(ranks)
    assert sum(sum(map(bool, kept)) for kept in ranks.values()) == settings["target_rank"] * modules
    before = logits(model)
    method.save(model, tmp_path)
    loaded = method.load(base(bases["gpt_bigcode"]), tmp_path)
    assert (logits(loaded) - before).abs().max() <= 1e-5


def test_adaloras_printed_schedule_keeps_every_rank(bases) -> None:
    method, model, settings = attached(bases["gpt_bigcode"], "adalora")
    config = model.peft_config["default"]
    assert (config.tinit, config.tfinal) == (200, 1000)
    train(method, model, settings, optimizer(model), range(1, STEPS + 1))
    assert config.rank_pattern is None
    assert all((p != 0).all() for name, p in model.named_parameters() if "lora_E" in name)


@pytest.mark.parametrize("overrides", [{"schedule": "scaled", "tinit": 20}, {"tinit": 15, "tfinal": 5}])
def test_a_schedule_without_room_is_refused(bases, overrides) -> None:
    method = METHODS.get("adalora")
    config = base(bases["gpt_bigcode"]).config
    with pytest.raises(UsageError, match=r"\[method\.adalora\] tinit"):
        method.check(config, method.with_defaults(overrides), STEPS)
