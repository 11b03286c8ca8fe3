"""The device that is here, and what it computes in."""

from __future__ import annotations


def found_device() -> str:
    """cuda where torch finds a GPU, else cpu."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def allow_tf32() -> None:
    """Lets a GPU multiply float32 matrices in TF32 (10 bits of mantissa): adapters are in float32. Nothing on a CPU."""
    import torch

    if torch.cuda.is_available():
        torch.set_float32_matmul_precision("high")


def has_bfloat16() -> bool:
    """Whether the GPU computes in bfloat16 itself: one that emulates it (V100, T4) is slower with it than without."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)
