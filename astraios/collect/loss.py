"""Cross-entropy from the logits, and nothing else: what a method adds to its own loss never enters it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn

from astraios.collect.data import IGNORED


def cross_entropy_sum(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0) -> tuple[Tensor, int]:
    """Sum of next-token cross-entropies, in nats, and the number of tokens in it.

    Args:
        model: causal language model; with virtual tokens its logits have their positions in front.
        ids: token ids, shape (batch, length).
        labels: the same with IGNORED where a token does not count, shape (batch, length).
        n_virtual: positions that the tuning method puts in front.
    """
    from torch.nn.functional import cross_entropy

    logits = model(input_ids=ids).logits[:, n_virtual:-1]  # (batch, length - 1, vocabulary)
    targets = labels[:, 1:]
    total = cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )
    return total, int((targets != IGNORED).sum())


def mean_cross_entropy(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0, batch: int = 8) -> float:
    """Mean next-token cross-entropy over blocks of shape (blocks, length), nats a token; no gradient."""
    import torch

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(ids), batch):
            piece = slice(start, start + batch)
            loss, n = cross_entropy_sum(model, ids[piece].to(device), labels[piece].to(device), n_virtual)
            total, count = total + float(loss), count + n
    model.train(training)
    return total / count
