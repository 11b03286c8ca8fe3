"""Estimated floating-point operations of a training run, from counts alone.

Matrix products cost two operations a parameter and token: once in the forward pass, once in the backward pass through
activations, once for the gradients of weights (Kaplan et al., 2020, arXiv:2001.08361, section 2.1). What is frozen
skips the last. The attention scores and their product with the values add 4 L T d a token in the forward pass and
8 L T d in the backward pass, for L layers, T positions and width d (Chowdhery et al., 2022, arXiv:2204.02311,
appendix B; not halved for causality, as is usual in model FLOPs utilisation). Recomputation by gradient checkpointing
does not count: these are the model's operations, not the device's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from astraios.records import ParameterCount

if TYPE_CHECKING:
    from transformers import PretrainedConfig


def matmul_params(config: PretrainedConfig, count: ParameterCount) -> int:
    """Parameters that take part in a matrix product at every token: all but embeddings, and the output layer."""
    return count.n_params_nonembedding + config.vocab_size * config.hidden_size


def train_flops(
    config: PretrainedConfig,
    count: ParameterCount,
    *,
    kind: str,
    n_tokens: int,
    sequence_length: int,
    n_virtual_tokens: int = 0,
) -> float:
    """Operations of a training run.

        tokens x (T + v) / T x (2 N + 2 N + 2 N_grad + 6 N_added + 12 L (T + v) d)

    with N the base's matrix parameters, N_grad = N in full fine-tuning and 0 otherwise, N_added the parameters that a
    method adds to each token's path (0 for prompts, whose v virtual positions lengthen the sequence instead; the
    encoder of P-Tuning runs once a sequence and is left out).

    Args:
        config: configuration of the base model.
        count: its parameters under the method.
        kind: the method's kind: full, prompt or another.
        n_tokens: tokens trained on, virtual ones not counted.
        sequence_length: T, tokens in a block.
        n_virtual_tokens: v, positions that the method puts in front of a block.
    """
    base = matmul_params(config, count)
    gradients = base if kind == "full" else 0
    added = 0 if kind in ("full", "prompt") else count.n_trainable
    positions = sequence_length + n_virtual_tokens
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    attention = 12 * config.num_hidden_layers * positions * width * config.num_attention_heads
    per_position = 4 * base + 2 * gradients + 6 * added + attention
    return float(n_tokens) * positions / sequence_length * per_position


def matmul_rate(environment_id: str, device: str, threads: int) -> float:
    """Operations a second of a large matrix product on one device: what model FLOPs utilisation is a share of.

    Measured once for an environment and number of threads, as the best of several tries, in bfloat16 on a GPU that
    has it and in float32 elsewhere; kept in the cache.
    """
    import json

    from astraios.files import cache_dir, exclusive, write_atomically

    kind = device.partition(":")[0]
    file = cache_dir() / "matmul" / f"{environment_id}-{kind}-{threads}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(file.with_suffix(".lock"), wait=float("inf"), what="the measurement of the matrix rate"):
        if not file.is_file():
            write_atomically(file, json.dumps({"flops_per_second": _measured_matmul_rate(kind)}).encode())
        return float(json.loads(file.read_text())["flops_per_second"])


def _measured_matmul_rate(kind: str) -> float:
    import time

    import torch

    gpu = kind == "cuda"
    size, tries = (8192, 20) if gpu else (768, 8)
    dtype = torch.bfloat16 if gpu and torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    a, b = (torch.randn(size, size, device=kind, dtype=dtype) for _ in range(2))
    best = float("inf")
    for _ in range(tries):
        if gpu:
            torch.cuda.synchronize()
        start = time.perf_counter()
        a @ b
        if gpu:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best
