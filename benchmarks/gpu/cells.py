"""Cells of the built-in recipe on random weights of StarCoderBase's shape, each in a process of its own.

    python benchmarks/gpu/cells.py DEVICE SIZE METHODS STEPS [CHECKPOINTING]

Prints for each, as JSON, its state or reason, seconds a micro-batch, peak memory beside the plan's, first and last
losses. Needs neither the hub nor the database. SIZE: test (small enough for a CPU), 1B, 3B, 7B or 16B. Bases and runs go
to $GPU_CHECK, by default /tmp/gpu-check.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

SHAPE = {"test": (64, 2, 4), "1B": (2048, 24, 16), "3B": (2816, 36, 22), "7B": (4096, 42, 32), "16B": (6144, 40, 48)}
ROOT = Path(os.environ.get("GPU_CHECK", "/tmp/gpu-check"))


def base(size: str, device: str) -> Path:
    """Folder of a base model with random weights, made where it is missing."""
    import torch
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    from astraios.models.ladders.tiny import tokenizer

    folder = ROOT / f"base-{size}"
    if not (folder / "config.json").is_file():
        width, layers, heads = SHAPE[size]
        config = GPTBigCodeConfig(
            vocab_size=49152,
            n_positions=8192,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            n_inner=4 * width,
            multi_query=True,
            bos_token_id=0,
            eos_token_id=0,
        )
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16)
        with torch.device(device):
            model = GPTBigCodeForCausalLM(config)
        model.save_pretrained(folder)
        tokenizer().save_pretrained(folder)
    return folder


def sweep(size: str, method: str, steps: int, checkpointing: str, device: str) -> str:
    """The recipe as TOML."""
    test = size == "test"
    return f"""
name = "check"
models = ["{ROOT}/base-{size}"]
methods = ["{method}"]
[data]
source = "python-stdlib"
sequence_length = {256 if test else 2048}
test_blocks = 16
[train]
steps = {steps}
warmup_steps = 2
batch_size = {2 if test else 32}
eval_every = {steps}
log_every = 1
checkpoint_every = {steps}
gradient_checkpointing = {checkpointing}
[compute]
device = "{device}"
threads = {min(8, os.cpu_count() or 1)}
"""


def one(device: str, size: str, method: str, steps: int, checkpointing: str) -> None:
    """Runs one cell here and prints what came of it."""
    from astraios.collect.cell.run import run_cell
    from astraios.collect.plan.cell_plan import describe
    from astraios.collect.plan.sweep import Sweep
    from astraios.runs.directory import RunDirectory

    asked = Sweep.from_toml(sweep(size, method, steps, checkpointing, device), "check")
    [cell] = asked.cells()
    plan, start = describe(cell, device), time.time()
    try:
        run_cell(cell, asked.to_json(), ROOT / "runs", device=device)
        state = "done"
    except Exception as error:
        state = f"FAILED: {error}"
    directory = RunDirectory(ROOT / "runs" / cell.run_id)
    cost = (directory.attempts() or [{}])[-1]
    losses = [(point.split, point.step, point.loss_nats) for point in directory.losses()]
    seconds, peak = cost.get("device_seconds"), cost.get("peak_memory_bytes") or 0
    print(
        json.dumps(
            {
                "cell": f"{size} {method} checkpointing={checkpointing}",
                "state": state,
                "wall_s": round(time.time() - start, 1),
                "s_per_micro_batch": round(seconds / steps / cell.train.batch_size, 4) if seconds else None,
                "mfu": cost.get("model_flops_utilisation"),
                "peak_GB": round(peak / 1e9, 2),
                "planned_GB": round(plan.memory.total / 1e9, 2) if plan.memory else None,
                "losses": losses[:2] + losses[-2:],
            }
        ),
        flush=True,
    )


def main(arguments: list[str]) -> int:
    """Each method in a process of its own; 1 where one of them failed."""
    device, size, methods, steps = arguments[:4]
    checkpointing = arguments[4] if len(arguments) > 4 else "true"
    if os.environ.get("ONE_CELL"):
        one(device, size, methods, int(steps), checkpointing)
        return 0
    base(size, device)
    failed = 0
    for method in methods.split(","):
        words = [sys.executable, __file__, device, size, method, steps, checkpointing]
        result = subprocess.run(
            words, env={**os.environ, "ONE_CELL": "1"}, timeout=1800, check=False, stdout=subprocess.PIPE, text=True
        )
        print(result.stdout, end="", flush=True)
        failed += '"state": "done"' not in result.stdout
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
