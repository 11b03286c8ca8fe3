"""The blocks that an architecture repeats, and `torch.compile` of each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError

if TYPE_CHECKING:
    from torch import nn


def layers(model: nn.Module) -> list[Any]:
    """The blocks of an architecture, in order; none where transformers names none for it."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    names = set(getattr(base, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def compile_layers(model: nn.Module) -> None:
    """Has each block compiled at its next call: one program serves all of a kind.

    Random numbers stay those of the blocks as they are: a block that is worked out again for its gradient, in another
    program, must drop what it dropped before.

    Raises:
        CellError: the architecture names no blocks.
    """
    found = layers(model)
    if not found:
        raise CellError(
            f"[train] compile = true compiles the blocks of a model, and transformers names none of a "
            f"{model.config.model_type!r} model: set compile = false"
        )
    for layer in found:
        layer.compile(options={"fallback_random": True})


@contextlib.contextmanager
def as_written(model: nn.Module) -> Iterator[None]:
    """Inside, compiled blocks run as they are written: other shapes and modes are not worth a program of their own."""
    programs = forget_compiled(model)
    try:
        yield
    finally:
        for layer, program in programs:
            layer._compiled_call_impl = program


def forget_compiled(model: nn.Module) -> list[tuple[Any, Any]]:
    """Blocks run as they are written from here on; gives back each that was compiled, and its program."""
    compiled = [(layer, layer._compiled_call_impl) for layer in layers(model) if layer._compiled_call_impl]
    for layer, _ in compiled:
        layer._compiled_call_impl = None
    return compiled
