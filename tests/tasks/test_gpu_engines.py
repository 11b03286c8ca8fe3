"""What engines on GPUs are told, as far as a machine without one can show it."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from astraios.errors import CellError, UsageError, one_line
from astraios.evaluate.generate import vllm
from astraios.evaluate.model import Subject, load

torch = pytest.importorskip("torch")
PROMISE = "the GPU path: what a machine without one can show of it"


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("begun", ["pissa", "pissa_niter_16", "olora", "corda", "loftq"])
def test_vllm_refuses_adapters_of_a_base_that_was_changed(begun: str, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "r": 8, "init_lora_weights": begun}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CellError, match=rf"vLLM does not apply LoRA with init_lora_weights = '{begun}'"):
        vllm.adapter_rank(tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "init_lora_weights": True}))
    assert vllm.adapter_rank(tmp_path) == 8


@pytest.mark.promise(PROMISE)
def test_vllms_workers_are_started_afresh_and_share_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch has been asked for the GPU by then: a fork could not use it."""
    seen: dict[str, Any] = {}

    def model(**options: Any) -> Any:
        seen.update(options, method=os.environ.get("VLLM_WORKER_MULTIPROC_METHOD"))
        inner = SimpleNamespace(model_config=SimpleNamespace(max_model_len=64))
        return SimpleNamespace(get_tokenizer=lambda: None, llm_engine=inner)

    monkeypatch.delenv("VLLM_WORKER_MULTIPROC_METHOD", raising=False)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=model))
    monkeypatch.setitem(sys.modules, "vllm.lora", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm.lora.request", SimpleNamespace(LoRARequest=None))
    load(Subject(model="some/model", engine="vllm", tensor_parallel=4))
    assert seen["method"] == "spawn"
    assert seen["tensor_parallel_size"] == 4
    with pytest.raises(UsageError, match="--tensor-parallel 0"):
        load(Subject(model="some/model", engine="vllm", tensor_parallel=0))
    os.environ.pop("VLLM_WORKER_MULTIPROC_METHOD", None)


@pytest.mark.promise(PROMISE)
def test_a_model_is_evaluated_in_bfloat16_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from astraios.evaluate import model

    monkeypatch.setattr(model, "has_bfloat16", lambda: True)
    assert model._dtype("auto", "cuda:0") == "bfloat16"
    assert model._dtype("float32", "cuda:0") == "float32"
    assert model._dtype("auto", "cpu") == "auto"
    monkeypatch.setattr(model, "has_bfloat16", lambda: False)
    assert model._dtype("auto", "cuda:0") == "auto"


def test_an_out_of_memory_says_where_and_how_much() -> None:
    said = (
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which 1.2 GiB is "
        "free. Of the allocated memory 70 GiB is allocated by PyTorch."
    )
    error = torch.OutOfMemoryError(said)
    training = one_line(error, "training (3 of 200)")
    assert "while training (3 of 200)" in training
    assert "Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.1 GiB of which 1.2 GiB is free" in training
    assert "not quantized, processes and fsdp" in training
    scoring = one_line(error, "scoring humanevalfix-python (1 of 3)")
    assert "set [task.humanevalfix-python] batch" in scoring
    assert "micro_batch" not in scoring


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_rows_that_end_make_room_for_others(temperature: float) -> None:
    """At most half of the row-steps of batches of 16 that are not refilled, and each prompt is read once."""
    import random

    from astraios.evaluate.generate.hf import Generator
    from astraios.evaluate.generate.requests import Request
    from tests.tasks.test_generate import tiny, tokenizer

    draw, model = random.Random(1), tiny()
    texts = ["def f(x):" + "".join(draw.choices("abcdefgh ", k=draw.randint(1, 30))) for _ in range(12)]
    requests = [Request(str(i), sample, text, ("\n", "q", "}")) for i, text in enumerate(texts) for sample in range(20)]
    rows, prompts = [], []

    def count(module: Any, given: Any, named: Any) -> None:
        (prompts if named["input_ids"].shape[1] > 1 else rows).append(len(named["input_ids"]))
        assert named.get("logits_to_keep") == 1 or named["input_ids"].shape[1] == 1, "one position's logits"

    model.register_forward_pre_hook(count, with_kwargs=True)
    answers = {(r.item_id, r.sample): a for r, a in Generator(model, tokenizer(), 80, temperature).run(requests)}
    assert len(answers) == len(requests)
    assert sum(prompts) == len(set(texts))
    before = 0
    for length in {len(text) for text in texts}:
        same = [r for r in requests if len(r.text) == length]
        for start in range(0, len(same), 16):
            steps = (len(answers[r.item_id, r.sample]) for r in same[start : start + 16])
            before += 16 * max(1, max(steps))
    assert sum(rows) <= before / 2
    one = dict(Generator(tiny(), tokenizer(), 80, temperature, batch=1).run(requests[::20]))
    assert {(r.item_id, r.sample): a for r, a in one.items()}.items() <= answers.items()


def test_rows_are_as_many_as_memory_allows() -> None:
    from transformers import GPTBigCodeConfig, LlamaConfig

    from astraios.evaluate.generate import hf

    shape = {"n_embd": 6144, "n_layer": 40, "n_head": 48}
    # Keys and values of one head of 128 in 40 layers: 20 kB a token in bfloat16.
    assert hf.row_bytes(GPTBigCodeConfig(multi_query=True, **shape), 1, 2) == 2 * 40 * 128 * 2
    shared = LlamaConfig(hidden_size=64, num_hidden_layers=2, num_attention_heads=8, num_key_value_heads=2)
    assert hf.row_bytes(shared, 10, 2) == 2 * 2 * 10 * 2 * 8 * 2
