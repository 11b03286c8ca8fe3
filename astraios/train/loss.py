"""Cross-entropy from the logits, and nothing else: what a method adds to its own loss never enters it.

The logits of a large vocabulary are the largest tensor of a training step (2,048 tokens x 49,152 words: 0.4 GB in
float32, and as much for their gradient). Above a threshold they are made a chunk of tokens at a time, by letting the
model's output layer return the loss in place of the logits; gradients are taken chunk by chunk in the forward pass,
so that nothing is computed twice, and straight from the softmax, which gives the loss as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

from astraios.data.packing import IGNORED
from astraios.train.layers import as_written
from astraios.train.output_layer import OutputLayer, output_layer

CHUNK_ELEMENTS = {"cpu": 1 << 24, "gpu": 1 << 25}
"""Logits that are held at once, by device: 67 and 134 MB in float32. Fewer in a whole batch are made in one piece."""
EVALUATION_BLOCKS = 8
"""Blocks in a forward pass of an evaluation, at most."""
EVALUATION_LOGITS = 1 << 28
"""Logits of such a pass where they can't be made in parts: 1 GB in float32."""
EVALUATION_BYTES = 10**9
"""Activations of such a pass on a GPU."""


def chunk_elements(device: str) -> int:
    """Logits that are held at once on a kind of device (cpu, cuda, xpu, mps)."""
    return CHUNK_ELEMENTS["cpu" if device == "cpu" else "gpu"]


def cross_entropy_sum(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0) -> Tensor:
    """Sum of next-token cross-entropies, in nats.

    Args:
        model: causal language model; with virtual tokens its logits have their positions in front.
        ids: token ids, shape (batch, length).
        labels: the same with IGNORED where a token does not count, shape (batch, length).
        n_virtual: positions that the tuning method puts in front.
    """
    targets = labels[:, 1:]
    vocabulary = int(getattr(model.config, "vocab_size", 0))
    limit = chunk_elements(ids.device.type)
    if targets.numel() * vocabulary > limit and can_chunk(model):
        with _head_returns_loss(model, targets, n_virtual, max(1, limit // vocabulary)):
            return model(input_ids=ids, use_cache=False).logits.sum()
    return _cross_entropy(model(input_ids=ids, use_cache=False).logits[:, n_virtual:-1], targets)


def summed_cross_entropy(model: nn.Module, ids: Tensor, labels: Tensor, n_virtual: int = 0) -> tuple[float, int]:
    """Sum of next-token cross-entropies over blocks, nats, and the number of tokens in it; no gradient."""
    import torch

    device = next(model.parameters()).device
    training, batch = model.training, evaluation_blocks(model, ids.shape[1] + n_virtual, device.type)
    model.eval()
    total = 0.0
    # Not inference mode: FSDP keeps what it gathered then, and can't train with it.
    with torch.no_grad():
        for start in range(0, len(ids), batch):
            piece = slice(start, start + batch)
            total += float(cross_entropy_sum(model, ids[piece].to(device), labels[piece].to(device), n_virtual))
    model.train(training)
    return total, int((labels[:, 1:] != IGNORED).sum())


def evaluation_blocks(model: nn.Module, positions: int, device: str) -> int:
    """Blocks in a forward pass of an evaluation; on a GPU as many as hold some EVALUATION_BYTES beside the logits.

    Args:
        model: causal language model.
        positions: tokens in a block, virtual ones among them.
        device: cpu, where the number is as it has always been unless logits force it down, or another.
    """
    config, most = model.config, EVALUATION_BLOCKS
    logits = positions * int(getattr(config, "vocab_size", 0))
    if most * logits > EVALUATION_LOGITS and not can_chunk(model):
        most = max(1, EVALUATION_LOGITS // logits)
    if device != "cpu" and getattr(config, "hidden_size", None):
        most = min(most, fitting_blocks(config, positions))
    return most


def fitting_blocks(config: Any, positions: int) -> int:
    """Blocks in a forward pass of an evaluation on a GPU, as far as the model's width decides."""
    return min(EVALUATION_BLOCKS, max(1, EVALUATION_BYTES // pass_bytes(config, positions)))


def pass_bytes(config: Any, positions: int) -> int:
    """Bytes that a block takes in a forward pass without gradients on a GPU: one layer's tensors at two bytes a number.

    Its input, its norm's, and before and behind the activation the feed-forward's width (`intermediate_size`; 4 widths
    where a configuration does not say it); the residual in float32, and what an adapter makes float32 of the latter.
    """
    width = int(config.hidden_size)
    inner = int(getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * width)
    return positions * (2 * (2 * width + 2 * inner) + 4 * width + 4 * inner)


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
        with torch.no_grad(), as_written(model):
            # Not token 0, which may be padding, with logits of zero.
            ids = torch.tensor([[1, 2, 3]], device=next(model.parameters()).device)
            logits = model.eval()(input_ids=ids, use_cache=False).logits
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
    forward, own = head.forward, "forward" in head.__dict__

    def loss(hidden: Tensor) -> Tensor:
        hidden = hidden[:, n_virtual:-1].flatten(0, 1)
        rows = -(-len(hidden) // -(-len(hidden) // tokens))
        # Made here, because sharded parameters are whole only inside the forward pass.
        layer = output_layer(head, forward, hidden, rows)
        return chunked_cross_entropy(hidden, targets.flatten(), layer, rows).reshape(1, 1, 1)

    head.forward = loss
    try:
        yield
    finally:
        if own:
            head.forward = forward
        else:
            del head.forward


def chunked_cross_entropy(hidden: Tensor, targets: Tensor, layer: OutputLayer, rows: int) -> Tensor:
    """Sum of cross-entropies, a chunk of tokens at a time; a scalar in float32.

    Args:
        hidden: shape (tokens, width).
        targets: shape (tokens,), IGNORED where a token does not count.
        layer: makes logits of hidden states.
        rows: tokens in a chunk.
    """
    import torch

    if torch.is_grad_enabled() and (hidden.requires_grad or layer.trained):
        return _function().apply(hidden, targets, layer, rows, *layer.trained)
    return _work_through(hidden, targets, layer, rows, None, backward=False)


def _work_through(
    hidden: Tensor, targets: Tensor, layer: OutputLayer, rows: int, into: Tensor | None, *, backward: bool
) -> Tensor:
    """The sum; with `backward`, the layer's gradients are in it then, and those by the hidden states in `into`."""
    import torch

    counts, at = (targets != IGNORED)[:, None], targets.clamp(min=0)[:, None]
    # Asked on a CPU alone, because another device would have to be waited for.
    all_count = targets.device.type == "cpu" and bool(counts.all())
    sums = []
    for start in range(0, len(hidden), rows):
        chunk = slice(start, start + rows)
        logits = layer.logits(hidden[chunk], backward)
        highest, wanted = logits.amax(1, keepdim=True).float(), logits.gather(1, at[chunk]).float()
        gradient = layer.softmax(logits)
        # The largest probability is one over the softmax's own sum, which so need not be worked out again.
        losses = highest - wanted - gradient.amax(1, keepdim=True).log()
        sums.append((losses * counts[chunk]).sum())
        if backward:
            # By the logits the gradient is the softmax less one at the target.
            if not all_count:
                gradient *= counts[chunk]
            gradient.scatter_add_(1, at[chunk], -counts[chunk].float())
            layer.backward(gradient, None if into is None else into[chunk])
    return torch.stack(sums).sum()


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(
        logits.reshape(-1, logits.shape[-1]).float(), targets.reshape(-1), ignore_index=IGNORED, reduction="sum"
    )


_FUNCTION: list[Any] = []


def _function() -> Any:
    """The autograd function; made on first use, because torch is imported then."""
    if not _FUNCTION:
        import torch

        class ChunkedCrossEntropy(torch.autograd.Function):
            @staticmethod
            def forward(
                ctx: Any, hidden: Tensor, targets: Tensor, layer: OutputLayer, rows: int, *parameters: Tensor
            ) -> Tensor:
                by_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
                total = _work_through(hidden, targets, layer, rows, by_hidden, backward=True)
                ctx.gradients = by_hidden, layer.gradients()
                return total

            @staticmethod
            def backward(ctx: Any, *upstream: Tensor) -> Any:
                by_hidden, by_parameters = ctx.gradients
                ctx.gradients = None
                for gradient in [*by_parameters, *([] if by_hidden is None else [by_hidden])]:
                    gradient *= upstream[0].to(gradient.dtype)
                return (by_hidden, None, None, None, *by_parameters)

        _FUNCTION.append(ChunkedCrossEntropy)
    return _FUNCTION[0]
