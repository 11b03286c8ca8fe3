"""FSDP2 on one GPU (a group of one): what autocast's cache would hold of the model, and that it holds nothing.

torchrun --nproc-per-node 1 benchmarks/gpu/autocast_cache.py 1B      (after cells.py has made base-1B)
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from transformers import AutoModelForCausalLM

from astraios.train.group import Shards
from astraios.train.loss import can_chunk, cross_entropy_sum

ROOT = Path(os.environ.get("GPU_CHECK", "/tmp/gpu-check"))


def main(size: str) -> None:
    """Prints bytes a parameter that are gone once autocast ends, with its cache and without."""
    torch.cuda.set_device(0)
    dist.init_process_group("cpu:gloo,cuda:nccl")
    base = AutoModelForCausalLM.from_pretrained(ROOT / f"base-{size}", dtype=torch.bfloat16)
    base.activation_checkpointing_enable({"use_reentrant": False})
    model, _ = Shards("cuda").prepared(base.requires_grad_(True))
    del base
    model.train()
    ids = torch.randint(1, 40000, (1, 2048), device="cuda")
    can_chunk(model)
    n = sum(parameter.numel() for parameter in model.parameters())
    for cached in (True, False):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=cached):
            loss = cross_entropy_sum(model, ids, ids)
            held = torch.cuda.memory_allocated() - before
        gone = held - (torch.cuda.memory_allocated() - before)
        (loss / 2047).backward()
        model.zero_grad()
        print(
            f"autocast's cache {'on' if cached else 'off'}: {gone / n:.3f} bytes a parameter, peak "
            f"{torch.cuda.max_memory_allocated() / 1e9:.2f} GB, loss {float(loss.detach()) / 2047:.4f}"
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
