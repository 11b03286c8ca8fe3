"""Layers of PEFT over a quantized base, kept in the model's precision.

(IA)3's layers over bitsandbytes raise what they are given to float32 and never come back; AdaLoRA's over 8 bits
multiply by a float32 scalar. In a bfloat16 model the next normalization layer then refuses what it gets.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def keep_precision(model: nn.Module) -> nn.Module:
    """The tuned model, whose layers over a quantized base now give the dtype that they are given; changed in place.

    To be called wherever PEFT has put its layers in: after attaching and after loading. Other layers stay as they are.
    """
    for module in model.modules():
        kind = f"{type(module).__module__}.{type(module).__name__}"
        if kind in ("peft.tuners.ia3.bnb.Linear8bitLt", "peft.tuners.ia3.bnb.Linear4bit"):
            module.forward = partial(_scaled, module)  # type: ignore[method-assign]
        elif kind in ("peft.tuners.adalora.bnb.SVDLinear8bitLt", "peft.tuners.adalora.bnb.SVDLinear4bit"):
            module.register_forward_hook(_as_given)
    return model


def _scaled(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """(IA)3 (arXiv:2205.05638, section 3.3): scales what a feed-forward's layer is given, and what others give."""
    scale = None
    for name in () if layer.disable_adapters else layer.active_adapters:
        if name in layer.ia3_l:
            own = layer.ia3_l[name].flatten()
            scale = own if scale is None else scale * own
    if scale is None:
        return layer.base_layer(x, *args, **kwargs)  # type: ignore[no-any-return]
    if layer.is_feedforward:
        return layer.base_layer((x * scale).to(x.dtype), *args, **kwargs)  # type: ignore[no-any-return]
    result = layer.base_layer(x, *args, **kwargs)
    return (result * scale).to(result.dtype)  # type: ignore[no-any-return]


def _as_given(layer: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> Tensor:
    return result.to(given[0].dtype)
