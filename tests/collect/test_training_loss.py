"""The loss in chunks equals the loss in one piece, with its gradients."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from astraios.data.packing import IGNORED  # noqa: E402
from astraios.models.methods import METHODS  # noqa: E402
from astraios.train import loss as losses  # noqa: E402
from astraios.train.output_layer import Matrix, OutputLayer, output_layer  # noqa: E402

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
    total = losses.cross_entropy_sum(model, ids, labels, n_virtual)
    (total / 40).backward()
    return total.item(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["gpt_bigcode", "llama"])
@pytest.mark.parametrize("method_id", ["fft", "lora", "prompt", "ptuning", "head"])
def test_chunks_give_the_same_loss_and_gradients(kind: str, method_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    overrides = {"target_modules": ["lm_head"], "dropout": 0.0} if method_id == "head" else {}
    model, n_virtual = tuned(kind, "lora" if method_id == "head" else method_id, overrides)
    whole = loss_and_gradients(model, n_virtual)
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", 7 * 99)
    seen: list[tuple[type, int]] = []
    monkeypatch.setattr(losses, "output_layer", watched(losses.output_layer, seen))
    chunked = loss_and_gradients(model, n_virtual)
    # 46 rows, 7 at a time.
    assert seen == [(OutputLayer if method_id == "head" else Matrix, n) for n in (7, 7, 7, 7, 7, 7, 4)]
    assert chunked[0] == pytest.approx(whole[0], rel=1e-6)
    assert set(chunked[1]) == set(whole[1])
    for name, gradient in whole[1].items():
        torch.testing.assert_close(chunked[1][name], gradient, rtol=1e-4, atol=1e-7, msg=name)
    assert "forward" not in losses._head(model).__dict__, "the output layer is as before"
    ids = torch.zeros((2, 24), dtype=torch.int64)
    labels = ids.clone()
    labels[0, :7] = IGNORED
    value = losses.summed_cross_entropy(model, ids, labels, n_virtual)
    assert value[1] == 2 * 23 - 6
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", 1 << 24)
    assert value == pytest.approx(losses.summed_cross_entropy(model, ids, labels, n_virtual), rel=1e-6)


def watched(function, seen: list[tuple[type, int]]):
    """The same, and it notes which kind of layer is given how many rows at a time."""

    def call(*arguments):
        layer = function(*arguments)
        logits = layer.logits

        def noted(hidden, backward):
            seen.append((type(layer), len(hidden)))
            return logits(hidden, backward)

        layer.logits = noted
        return layer

    return call


def test_half_precision_is_added_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tuned("llama", "fft")
    whole = loss_and_gradients(model, 0)
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", 2 * 99)
    low = loss_and_gradients(model.bfloat16(), 0)
    assert low[0] == pytest.approx(whole[0], rel=2e-3)
    weight = "lm_head.weight"
    assert low[1][weight].dtype == torch.bfloat16
    off = (low[1][weight].float() - whole[1][weight]).norm() / whole[1][weight].norm()
    assert off < 0.02


@pytest.mark.parametrize("ignored", [0, 3])
@pytest.mark.parametrize("kind", [OutputLayer, Matrix])
def test_a_target_of_no_probability_has_its_loss(kind: type, ignored: int) -> None:
    torch.manual_seed(0)
    hidden, targets = torch.randn(10, 8), torch.randint(0, 50, (10,))
    targets[:ignored] = IGNORED
    found = []
    for chunked in (True, False):
        head = torch.nn.Linear(8, 50, bias=kind is not Matrix)
        with torch.no_grad():
            for parameter in head.parameters():
                parameter.copy_(300 * torch.sin(torch.arange(float(parameter.numel()))).reshape(parameter.shape))
        rows = hidden.clone().requires_grad_()
        if chunked:
            layer = output_layer(head, head.forward, rows, 4)
            assert type(layer) is kind
            loss = losses.chunked_cross_entropy(rows, targets, layer, 4)
        else:
            loss = losses._cross_entropy(head(rows), targets)
        (loss / 7).backward()
        found.append((loss.detach(), rows.grad, *(p.grad for p in head.parameters())))
    assert found[0][0] > 500, "out of reach of float32's exponential"
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain)


def test_logits_that_are_capped_later_are_not_chunked(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tuned("gemma2", "fft")
    whole = loss_and_gradients(model, 0)
    monkeypatch.setitem(losses.CHUNK_ELEMENTS, "cpu", 7 * 99)
    assert not losses.can_chunk(model)
    assert loss_and_gradients(model, 0)[0] == whole[0]


def test_the_small_stay_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = tuned("gpt_bigcode", "fft")
    monkeypatch.setattr(losses, "can_chunk", lambda model: pytest.fail("asked"))
    loss_and_gradients(model, 0)


def has_large_pages() -> bool:
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return setting.is_file() and "[never]" not in setting.read_text()


@pytest.mark.skipif(not has_large_pages(), reason="this system has no large pages to give (transparent_hugepage)")
def test_large_tensors_get_large_pages() -> None:
    """In a process of its own, because torch must be asked before it is imported."""
    script = """
from astraios.train.large_pages import ask_for_large_pages
ask_for_large_pages()
import resource, torch

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(min(faults() for _ in range(5)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    small_pages = (1 << 26) // resource.getpagesize()
    assert int(done.stdout) < small_pages / 10
