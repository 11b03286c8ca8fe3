"""The output layer for a chunk of tokens: logits from hidden states, and back again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from torch import Tensor, nn

_KEPT = threading.local()


class OutputLayer:
    """Any module that makes logits; its gradients come from autograd.

    Args:
        forward: hidden states (rows, width) to logits (rows, words).
        trained: its parameters that are trained.
    """

    def __init__(self, forward: Callable[[Tensor], Tensor], trained: list[nn.Parameter]) -> None:
        self.forward, self.trained = forward, trained
        self._sums: list[Tensor] = []
        self._chunk: tuple[Tensor, Tensor] | None = None

    def logits(self, hidden: Tensor, backward: bool) -> Tensor:
        """Logits of a chunk, shape (rows, words).

        Args:
            hidden: shape (rows, width).
            backward: whether `backward` follows.
        """
        import torch

        if not backward:
            return self.forward(hidden)
        with torch.enable_grad():
            piece = hidden.detach().requires_grad_()
            logits = self.forward(piece)
        self._chunk = piece, logits
        return logits.detach()

    def softmax(self, logits: Tensor) -> Tensor:
        """Probabilities in float32; the logits may be gone afterwards."""
        return logits.float().softmax(1)

    def backward(self, gradient: Tensor, into: Tensor | None) -> None:
        """Adds a chunk's gradients to those of the layer's parameters.

        Args:
            gradient: by the logits, shape (rows, words), float32.
            into: filled with the gradient by the hidden states, where that is wanted.
        """
        import torch

        assert self._chunk is not None
        (piece, logits), self._chunk = self._chunk, None
        wanted = ([] if into is None else [piece]) + self.trained
        found = list(torch.autograd.grad(logits, wanted, gradient.to(logits.dtype)))
        if into is not None:
            into.copy_(found.pop(0))
        if not self._sums:
            # In float32 over the chunks, whatever the layer's precision.
            self._sums = [one.float() for one in found]
        else:
            for total, one in zip(self._sums, found, strict=True):
                total += one

    def gradients(self) -> list[Tensor]:
        """The gradients of the parameters, all chunks together."""
        return [total.to(p.dtype) for total, p in zip(self._sums, self.trained, strict=True)]


class Matrix(OutputLayer):
    """A float32 matrix on a CPU and nothing else: every chunk is worked out in the same memory.

    It is kept from one batch to the next, too: the C library gives what is as large as logits back to the system at
    once, and faulting its pages in again takes as long as the product that fills them.
    """

    def __init__(self, weight: nn.Parameter, rows: int) -> None:
        super().__init__(lambda hidden: hidden @ weight.T, [weight] if weight.requires_grad else [])
        self.weight = weight.detach()
        self._memory = _kept(rows * len(weight))
        self._hidden: Tensor | None = None

    def logits(self, hidden: Tensor, backward: bool) -> Tensor:
        import torch

        self._hidden = hidden.detach()
        words = len(self.weight)
        return torch.mm(self._hidden, self.weight.T, out=self._memory[: len(hidden) * words].view(-1, words))

    def softmax(self, logits: Tensor) -> Tensor:
        import torch

        return torch.softmax(logits, 1, out=logits)

    def backward(self, gradient: Tensor, into: Tensor | None) -> None:
        import torch

        assert self._hidden is not None
        if into is not None:
            torch.mm(gradient, self.weight, out=into)
        if self.trained and not self._sums:
            self._sums = [gradient.T @ self._hidden]
        elif self.trained:
            self._sums[0].addmm_(gradient.T, self._hidden)


def _kept(elements: int) -> Tensor:
    """Memory for that many float32, the same at each call of a thread."""
    import torch

    if getattr(_KEPT, "memory", None) is None or len(_KEPT.memory) < elements:
        _KEPT.memory = torch.empty(elements)
    return cast("Tensor", _KEPT.memory)


def output_layer(head: nn.Module, forward: Callable[[Tensor], Tensor], hidden: Tensor, rows: int) -> OutputLayer:
    """The fastest of these for a model's output layer.

    Args:
        head: the module.
        forward: its own forward.
        hidden: what it is given, shape (tokens, width).
        rows: tokens in a chunk, at most.
    """
    import torch

    weight = head.weight
    if (
        getattr(forward, "__func__", None) is torch.nn.Linear.forward
        and head.bias is None
        and type(weight) is torch.nn.Parameter
        and hidden.dtype == weight.dtype == torch.float32
        and hidden.device.type == "cpu"
        and not torch.is_autocast_enabled("cpu")
    ):
        return Matrix(weight, rows)
    return OutputLayer(forward, [p for p in head.parameters() if p.requires_grad])
