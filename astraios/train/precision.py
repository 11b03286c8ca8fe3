"""Which precision what is trained is kept and computed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

LOW = ("torch.bfloat16", "torch.float16")
"""Precisions in which a small step would be lost in rounding."""


def raise_precision(model: nn.Module) -> list[nn.Parameter]:
    """Makes trainable parameters float32 that are in half precision; gives back which they were."""
    low = [p for p in model.parameters() if p.requires_grad and str(p.dtype) in LOW]
    for parameter in low:
        parameter.data = parameter.data.float()
    return low


def lower_precision(raised: list[nn.Parameter]) -> None:
    """Gives parameters that `raise_precision` raised the base's bfloat16 back."""
    for parameter in raised:
        parameter.data = parameter.data.bfloat16()


def autocast(device: str, raised: bool) -> Any:
    """Computes in bfloat16 where float32 weights stand in for a bfloat16 model's.

    Without autocast's cache, which would keep a bfloat16 copy of the whole model (of the whole, also where each process
    holds a share of it) to the end of the forward pass: each weight is cast once a pass all the same.

    Args:
        device: cpu or cuda.
        raised: whether any weight was raised to float32.
    """
    import torch

    return torch.autocast(device, torch.bfloat16, enabled=raised, cache_enabled=False)
