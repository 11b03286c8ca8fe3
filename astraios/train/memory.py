"""Estimated memory of training a cell: what has to fit on a device at a time.

Weights in the base's precision; what is trained in float32, with its gradient and AdamW's two moments (4 + 4 + 8 bytes
a parameter); activations of one forward pass: s b h (34 bytes a layer at two bytes a number) with an attention that
does not keep its scores, or the residual a layer and one layer whole with gradient checkpointing (Korthikanti et al.,
2022, arXiv:2205.05198, equations 1 and 2 and section 5); logits, their softmax and their gradient, which the loss makes
in parts. Where the base itself is trained: the gradient of the output layer that the loss adds up, the one that
autograd hands on, and a cast of that matrix; and in bfloat16 a residual in float32, and without gradient checkpointing
the casts of all weights until the backward pass. What a method works out beside that (`Working`): norms of whole
matrices, rotations. Where each process holds a share: the layer in use and the next one whole, with that layer's
gradient. Or an evaluation of several blocks (`train.loss`), where that takes more. A process with its libraries comes
on top. An estimate to plan with, not a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astraios.records import ParameterCount
from astraios.train.loss import chunk_elements, fitting_blocks, pass_bytes

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from astraios.train.loop import TrainSpec

GB = 10**9
PROCESS_BYTES = {"cpu": 600 * 10**6, "cuda": 800 * 10**6}
"""Of a process on its device before it has a model: libraries on a CPU, context and workspaces on a GPU."""
WEIGHT_BYTES = {"8bit": 1.0, "nf4": 0.52}
"""Bytes a parameter of a quantized matrix, with its scales; embeddings and the output layer are not quantized."""
ADAPTED_LAYER_BYTES = {"8bit": 68, "nf4": 42, "none": 42}
"""What a layer of a frozen bfloat16 base keeps, bytes a token and unit of width: adapters take what they are given in
float32, and 8-bit layers keep it once more. Measured with LoRA on a GPU (none and 8bit; nf4 on a CPU)."""
HOST_BYTES = 3 * 10**9
"""Main memory of a process that works on a GPU: libraries and the GPU's context."""


@dataclass(frozen=True)
class Memory:
    """Bytes on each device."""

    weights: float
    training: float
    """What is trained in float32, gradients, moments."""
    activations: float
    process: float
    host: float = 0.0
    """Main memory of the machine, of all processes that train the cell together."""

    @property
    def total(self) -> float:
        return self.weights + self.training + self.activations + self.process

    def __str__(self) -> str:
        return (
            f"{self.total / GB:.3g} GB (weights {self.weights / GB:.3g}, what is trained {self.training / GB:.3g}, "
            f"activations {self.activations / GB:.3g})"
        )


@dataclass(frozen=True)
class Working:
    """Bytes that a tuning method's own computation takes, beside what it trains and what any layer keeps."""

    frozen: float = 0.0
    """All the time, of all its modules together."""
    layer: float = 0.0
    """A layer of the base, from its forward pass until its backward pass is over."""
    token: float = 0.0
    """Likewise, for each token."""
    passing: float = 0.0
    """The most that one module makes and gives back in a pass."""


def number_bytes(spec: TrainSpec, device: str) -> int:
    """Bytes of a number of the base; "auto" counts as bfloat16 on a GPU."""
    half = spec.dtype == "bfloat16" or (spec.dtype == "auto" and device.partition(":")[0] == "cuda")
    return 2 if half else 4


def training_memory(
    config: PretrainedConfig,
    count: ParameterCount,
    spec: TrainSpec,
    *,
    full: bool,
    positions: int,
    device: str,
    trained_bytes: int = 16,
    working: Working | None = None,
    micro_batch: int | None = None,
) -> Memory:
    """Memory of training on each of the devices that a cell takes.

    Args:
        config: configuration of the base model.
        count: its parameters under the method.
        spec: the recipe; "auto" precision counts as bfloat16 on a GPU.
        full: whether the method trains the base itself.
        positions: tokens in a block, virtual ones among them.
        device: cpu or cuda.
        trained_bytes: bytes that each trained parameter takes: itself, its gradient, moments, what a method adds.
        working: what the method's own computation takes.
        micro_batch: blocks in one forward pass, where that is not the recipe's.
    """
    kind, working = device.partition(":")[0], working or Working()
    number = number_bytes(spec, kind)
    half = number == 2
    share = spec.processes if spec.fsdp else 1
    embeddings = count.n_params - count.n_params_nonembedding
    quantized = WEIGHT_BYTES.get(spec.quantization, number)
    base = count.n_params_nonembedding * quantized + embeddings * number
    weights = (0.0 if full else base / share) + working.frozen
    training = count.n_trainable * trained_bytes / share

    tokens, width, layers = positions * (micro_batch or spec.least_blocks), config.hidden_size, config.num_hidden_layers
    residual = 4 if full else number
    adapted = half and not full
    layer = (ADAPTED_LAYER_BYTES[spec.quantization] if adapted else 17 * number) * tokens * width
    layer += working.layer + working.token * tokens
    logits = 3 * 4 * min(tokens * config.vocab_size, chunk_elements(kind))
    head = 4 * config.vocab_size * width if full else 0
    cast = head // 2 if half else 0
    if spec.gradient_checkpointing:
        # The loss is worked out before any layer is worked out again.
        held = layers * residual * tokens * width + head + max(layer + working.passing, logits + cast, head)
    else:
        casts = number * count.n_params_nonembedding if full and half else 0
        held = layers * layer + head + casts + max(working.passing, logits + cast)
    if kind != "cpu":
        held = max(held, fitting_blocks(config, positions) * pass_bytes(config, positions) + logits)
    gathered = 0.0
    if spec.fsdp:
        block = count.n_params_nonembedding / layers
        gathered = number * (2 * block + embeddings) + (4 + number) * block * (1 if full else 0)

    # One process reads the base, and holds the whole state when it is saved.
    once = max(count.n_params * number, count.n_trainable * 12)
    activations = held + gathered
    on_device = weights + training + activations + PROCESS_BYTES[kind]
    total_host = spec.processes * (on_device if kind == "cpu" else HOST_BYTES) + once
    return Memory(weights, training, activations, PROCESS_BYTES[kind], total_host)
