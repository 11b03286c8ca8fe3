"""Cross-entropy from the logits, and nothing else: what a method adds to its own loss never enters it.

The logits of a large vocabulary are the largest tensor of a training step (2,048 tokens x 49,152 words: 0.4 GB in
float32, and as much for their gradient). Above a threshold they are made a chunk of tokens at a time, by letting the
model's output layer return the loss in place of the logits; gradients are taken chunk by chunk in the forward pass,
so that nothing is computed twice, and straight from the softmax, which gives the loss as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

from astraios.collect.data import IGNORED

CHUNK_ELEMENTS = 1 << 24
"""Logits that are held at once: 64 MB in float32. Fewer in a whole batch are made in one piece."""


def cross_entropy_sum(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0) -> tuple[Tensor, int]:
    """Sum of next-token cross-entropies, in nats, and the number of tokens in it.

    Args:
        model: causal language model; with virtual tokens its logits have their positions in front.
        ids: token ids, shape (batch, length).
        labels: the same with IGNORED where a token does not count, shape (batch, length).
        n_virtual: positions that the tuning method puts in front.
    """
    targets = labels[:, 1:]
    count = int((targets != IGNORED).sum())
    vocabulary = int(getattr(model.config, "vocab_size", 0))
    if targets.numel() * vocabulary > CHUNK_ELEMENTS and can_chunk(model):
        with _head_returns_loss(model, targets, n_virtual, max(1, CHUNK_ELEMENTS // vocabulary)):
            return model(input_ids=ids).logits.sum(), count
    return _cross_entropy(model(input_ids=ids).logits[:, n_virtual:-1], targets), count


def mean_cross_entropy(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0, batch: int = 8) -> float:
    """Mean next-token cross-entropy over blocks of shape (blocks, length), nats a token; no gradient."""
    total, count = summed_cross_entropy(model, ids, labels, n_virtual, batch)
    return total / count


def summed_cross_entropy(
    model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0, batch: int = 8
) -> tuple[float, int]:
    """Sum of next-token cross-entropies over blocks, nats, and the number of tokens in it; no gradient."""
    import torch

    device = next(model.parameters()).device
    training = model.training
    model.eval()
    total, count = 0.0, 0
    # Not inference mode: FSDP keeps what it gathered then, and can't train with it.
    with torch.no_grad():
        for start in range(0, len(ids), batch):
            piece = slice(start, start + batch)
            loss, n = cross_entropy_sum(model, ids[piece].to(device), labels[piece].to(device), n_virtual)
            total, count = total + float(loss), count + n
    model.train(training)
    return total, count


def can_chunk(model: nn.Module) -> bool:
    """Whether the model's logits are what its output layer returns; tried once, on three tokens.

    Some architectures scale or cap logits behind the output layer; for these the loss is made in one piece.
    """
    known = getattr(model, "_astraios_can_chunk", None)
    if known is None:
        known = _logits_come_from_the_head(model)
        model._astraios_can_chunk = known  # type: ignore[assignment]
    return bool(known)


def _logits_come_from_the_head(model: nn.Module) -> bool:
    import torch

    head = _head(model)
    if head is None:
        return False
    seen: list[Tensor] = []
    handle = head.register_forward_hook(lambda module, inputs, output: seen.append(output))
    training = model.training
    try:
        with torch.no_grad():
            # Not token 0, which may be padding, with logits of zero.
            ids = torch.tensor([[1, 2, 3]], device=next(model.parameters()).device)
            logits = model.eval()(input_ids=ids).logits
    finally:
        handle.remove()
        model.train(training)
    return len(seen) == 1 and seen[0].shape == logits.shape and torch.equal(seen[0].to(logits.dtype), logits)


def _head(model: nn.Module) -> nn.Module | None:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]
    return base.get_output_embeddings()  # type: ignore[operator]


@contextlib.contextmanager
def _head_returns_loss(model: nn.Module, targets: Tensor, n_virtual: int, tokens: int) -> Iterator[None]:
    """Inside, the output layer gives the summed loss, shape (1, 1, 1), in place of logits."""
    head = _head(model)
    assert head is not None
    logits_of, own = head.forward, "forward" in head.__dict__

    def loss(hidden: Tensor) -> Tensor:
        # Asked for here, because sharded parameters are whole only inside the forward pass.
        parameters = [p for p in head.parameters() if p.requires_grad]
        hidden = hidden[:, n_virtual:-1].flatten(0, 1)
        return chunked_cross_entropy(hidden, targets.flatten(), logits_of, parameters, tokens).reshape(1, 1, 1)

    head.forward = loss
    try:
        yield
    finally:
        if own:
            head.forward = logits_of
        else:
            del head.forward


def chunked_cross_entropy(
    hidden: Tensor, targets: Tensor, logits_of: Callable[[Tensor], Tensor], parameters: list[Any], tokens: int
) -> Tensor:
    """Sum of cross-entropies of `logits_of(hidden)`, `tokens` rows at a time; a scalar in float32.

    Args:
        hidden: shape (rows, width).
        targets: shape (rows,), IGNORED where a row does not count.
        logits_of: the output layer.
        parameters: those of the output layer that are trained.
        tokens: rows a chunk, at most; chunks are of one size, as far as that goes.
    """
    import torch

    tokens = -(-len(hidden) // -(-len(hidden) // tokens))
    if torch.is_grad_enabled() and (hidden.requires_grad or parameters):
        return _function().apply(hidden, targets, logits_of, tokens, *parameters)
    return _sum_of_chunks(hidden, targets, logits_of, tokens)


def _sum_of_chunks(hidden: Tensor, targets: Tensor, logits_of: Callable[[Tensor], Tensor], tokens: int) -> Tensor:
    import torch

    chunks = zip(hidden.split(tokens), targets.split(tokens), strict=True)
    return torch.stack([_cross_entropy(logits_of(h), t) for h, t in chunks]).sum()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


_LEAST = 1e-30
"""A probability below has lost digits in float32: then the loss is taken the long way."""
_FUNCTION: list[Any] = []


def _function() -> Any:
    """The autograd function; made on first use, because torch is imported then."""
    if not _FUNCTION:
        import torch

        class ChunkedCrossEntropy(torch.autograd.Function):
            @staticmethod
            def forward(
                ctx: Any, hidden: Tensor, targets: Tensor, logits_of: Any, tokens: int, *parameters: Tensor
            ) -> Tensor:
                grad_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
                # Sums over chunks, in float32 whatever the layer's precision.
                sums: list[Tensor] = []
                counts, at = (targets != IGNORED)[:, None], targets.clamp(min=0)[:, None]
                all_count = bool(counts.all())
                found_at = torch.empty(len(hidden), 1, dtype=torch.float32, device=hidden.device)
                for start in range(0, len(hidden), tokens):
                    rows = slice(start, start + tokens)
                    with torch.enable_grad():
                        piece = hidden[rows].detach().requires_grad_(grad_hidden is not None)
                        logits = logits_of(piece)
                    # By the logits the gradient is softmax less one at the target.
                    gradient = torch.softmax(logits.detach().float(), dim=1)
                    found_at[rows] = gradient.gather(1, at[rows])
                    if not all_count:
                        gradient *= counts[rows]
                    gradient.scatter_add_(1, at[rows], -counts[rows].float())
                    wanted = ([piece] if grad_hidden is not None else []) + list(parameters)
                    found = list(torch.autograd.grad(logits, wanted, gradient.to(logits.dtype)))
                    del logits, gradient
                    if grad_hidden is not None:
                        grad_hidden[rows] = found.pop(0)
                    if not sums:
                        sums = [one.float() for one in found]
                    else:
                        for into, one in zip(sums, found, strict=True):
                            into += one
                ctx.gradients = (grad_hidden, [s.to(p.dtype) for s, p in zip(sums, parameters, strict=True)])
                if bool((found_at < _LEAST).any()):
                    return _sum_of_chunks(hidden, targets, logits_of, tokens)
                return -(found_at.log() * counts).sum()

            @staticmethod
            def backward(ctx: Any, *upstream: Tensor) -> Any:
                grad_hidden, sums = ctx.gradients
                ctx.gradients = None
                for gradient in [*sums, *([] if grad_hidden is None else [grad_hidden])]:
                    gradient *= upstream[0].to(gradient.dtype)
                return (grad_hidden, None, None, None, *sums)

        _FUNCTION.append(ChunkedCrossEntropy)
    return _FUNCTION[0]
