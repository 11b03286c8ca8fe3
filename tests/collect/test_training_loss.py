"""The loss in chunks equals the loss in one piece, with its gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.collect import loss as losses  # noqa: E402
from astraios.collect.data import IGNORED  # noqa: E402
from astraios.collect.methods import METHODS  # noqa: E402

FIELDS = {
    "gpt_bigcode": {"n_positions": 96, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64},
    "llama": {"max_position_embeddings": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "num_key_value_heads": 2},
    # Caps its logits behind the output layer.
    "gemma2": {"max_position_embeddings": 96, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    | {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 0.5},
}


def tuned(kind: str, method_id: str, overrides: dict | None = None):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=99, bos_token_id=0, eos_token_id=0, pad_token_id=0, **FIELDS[kind])
    method = METHODS.get(method_id)
    settings = method.with_defaults(overrides or {})
    model = method.attach(AutoModelForCausalLM.from_config(config), settings, 20)
    return model.eval(), method.n_virtual_tokens(settings)


def loss_and_gradients(model, n_virtual: int):
    ids = torch.randint(0, 99, (2, 24), generator=torch.Generator().manual_seed(1))
    labels = ids.clone()
    labels[0, :7] = IGNORED
    model.zero_grad()
    total, count = losses.cross_entropy_sum(model, ids, labels, n_virtual)
    (total / count).backward()
    return total.item(), count, {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["gpt_bigcode", "llama"])
@pytest.mark.parametrize("method_id", ["fft", "lora", "prompt", "ptuning", "head"])
def test_chunks_give_the_same_loss_and_gradients(kind: str, method_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"target_modules": ["lm_head"], "dropout": 0.0} if method_id == "head" else {}
    model, n_virtual = tuned(kind, "lora" if method_id == "head" else method_id, overrides)
    whole = loss_and_gradients(model, n_virtual)
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 7 * 99)
    widest: list[int] = []
    monkeypatch.setattr(losses, "chunked_cross_entropy", watched(losses.chunked_cross_entropy, widest))
    chunked = loss_and_gradients(model, n_virtual)
    assert len(widest) == 7, "46 rows, 7 at a time"
    assert max(widest) == 7
    assert chunked[0] == pytest.approx(whole[0], rel=1e-6)
    assert chunked[1] == whole[1] == 2 * 23 - 6
    assert set(chunked[2]) == set(whole[2])
    for name, gradient in whole[2].items():
        torch.testing.assert_close(chunked[2][name], gradient, rtol=1e-4, atol=1e-7, msg=name)
    assert "forward" not in losses._head(model).__dict__, "the output layer is as before"
    with torch.inference_mode():
        ids = torch.zeros((2, 24), dtype=torch.int64)
        value = losses.mean_cross_entropy(model, ids, ids, n_virtual)
        monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 1 << 24)
        assert value == pytest.approx(losses.mean_cross_entropy(model, ids, ids, n_virtual), rel=1e-6)


def watched(function, rows: list[int]):
    """The same, and it notes how many rows the output layer is given at a time."""

    def call(hidden, targets, logits_of, parameters, tokens):
        def noted(piece):
            rows.append(len(piece))
            return logits_of(piece)

        return function(hidden, targets, noted, parameters, tokens)

    return call


@pytest.mark.parametrize("ignored", [0, 3])
def test_a_target_of_no_probability_has_its_loss(ignored: int) -> None:
    torch.manual_seed(0)
    hidden, targets = torch.randn(10, 8), torch.randint(0, 50, (10,))
    targets[:ignored] = IGNORED
    found = []
    for chunked in (True, False):
        head = torch.nn.Linear(8, 50)
        head.load_state_dict({"weight": 300 * torch.sin(torch.arange(400.0)).reshape(50, 8), "bias": torch.zeros(50)})
        rows = hidden.clone().requires_grad_()
        if chunked:
            loss = losses.chunked_cross_entropy(rows, targets, head.forward, list(head.parameters()), 4)
        else:
            loss = losses._cross_entropy(head(rows), targets)
        (loss / 7).backward()
        found.append((loss.detach(), rows.grad, head.weight.grad, head.bias.grad))
    assert found[0][0] > 500, "out of reach of float32's exponential"
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_logits_that_are_capped_later_are_not_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tuned("gemma2", "fft")
    whole = loss_and_gradients(model, 0)
    monkeypatch.setattr(losses, "CHUNK_ELEMENTS", 7 * 99)
    assert not losses.can_chunk(model)
    assert loss_and_gradients(model, 0)[0] == whole[0]


def test_the_small_stay_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tuned("gpt_bigcode", "fft")
    monkeypatch.setattr(losses, "can_chunk", lambda model: pytest.fail("asked"))
    loss_and_gradients(model, 0)
