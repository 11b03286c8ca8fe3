"""The plan's memory beside what training holds: live tensors on a CPU, at their most, of every method at two sizes.

GPTBigCode with random weights in float32, gradient checkpointing, one block of 256 tokens a micro-batch, two steps of
the product's own loop. Every tensor that an operation makes is counted until its memory is given back; what the process
itself and its libraries take is left out on both sides. `python benchmarks/memory.py [METHOD ...]`
"""

from __future__ import annotations

import sys
import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

from astraios.data.packing import PackedData
from astraios.models.counting import count_parameters, without_storage
from astraios.models.methods import METHODS
from astraios.models.quiet import hush
from astraios.train.loop import Trainer, TrainSpec
from astraios.train.memory import number_bytes, training_memory

SIZES = ((256, 6), (512, 8))
LENGTH, WORDS, STEPS = 256, 2048, 2


class Live(TorchDispatchMode):
    """Counts bytes of tensors that are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and not leaf.is_meta:
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        if key in self.known:
            self.known.remove(key)
            self.now -= size


def measured(name: str, width: int, layers: int) -> tuple[float, float]:
    """Bytes at the peak, and bytes planned."""
    method = METHODS.get(name)
    settings = method.with_defaults({})
    config = GPTBigCodeConfig(
        vocab_size=WORDS,
        n_positions=2 * LENGTH,
        n_embd=width,
        n_layer=layers,
        n_head=4,
        bos_token_id=0,
        eos_token_id=0,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
    )
    spec = TrainSpec(
        steps=STEPS, batch_size=2, learning_rate=1e-4, dtype="float32", quantization="none", gradient_checkpointing=True
    )
    torch.manual_seed(0)
    with Live() as live:
        base = GPTBigCodeForCausalLM(config)
        base.activation_checkpointing_enable({"use_reentrant": False})
        model = method.attach(base, settings, STEPS)
        del base
        ids = torch.randint(1, WORDS, (2 * STEPS, LENGTH))
        data = PackedData(
            train=ids, train_labels=ids, test=ids[:1], test_labels=ids[:1], train_eval_blocks=0, bytes_per_token=1.0
        )
        trainer = Trainer(
            model,
            data,
            spec,
            method=method,
            settings=settings,
            learning_rate=1e-4,
            seed=0,
            on_loss=lambda point: None,
        )
        live.peak = live.now
        trainer.run()
    plan = training_memory(
        config,
        count_parameters(config, method, settings, STEPS),
        spec,
        full=method.kind == "full",
        positions=LENGTH + method.n_virtual_tokens(settings),
        device="cpu",
        trained_bytes=method.trained_bytes,
        working=method.working(without_storage(config), settings, number_bytes(spec, "cpu")),
    )
    return live.peak, plan.total - plan.process


def main(names: list[str]) -> None:
    """Prints a table in Markdown."""
    hush()
    torch.set_num_threads(1)
    heads = " | ".join(f"{width} x {layers}, MB | planned | ratio" for width, layers in SIZES)
    print(f"| method | {heads} |\n| --- |{' ---: |' * 3 * len(SIZES)}")
    for name in names or METHODS.names():
        parts = []
        for size in SIZES:
            peak, plan = measured(name, *size)
            parts.append(f"{peak / 1e6:.1f} | {plan / 1e6:.1f} | {plan / peak:.2f}")
        print(f"| {name} | {' | '.join(parts)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
