"""Estimated memory of training a cell: what has to fit on a device at a time.

Weights in the base's precision; what is trained in float32, with its gradient and AdamW's two moments (4 + 4 + 8 bytes
a parameter); activations of one forward pass: s b h (34 bytes a layer at two bytes a number) with an attention that
does not keep its scores, or 2 s b h a layer and one layer whole with gradient checkpointing (Korthikanti et al., 2022,
arXiv:2205.05198, equations 1 and 2 and section 5); logits, their softmax and their gradient, which the loss makes in
parts. A process with its libraries comes on top. An estimate to plan with, not a bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from astraios.records import ParameterCount
from astraios.train.loss import chunk_elements

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from astraios.train.loop import TrainSpec

GB = 10**9
PROCESS_BYTES = {"cpu": 600 * 10**6, "cuda": 800 * 10**6}
"""Of a process on its device before it has a model: libraries on a CPU, context and workspaces on a GPU."""
WEIGHT_BYTES = {"8bit": 1.1, "nf4": 0.6}
"""Bytes a parameter of a quantized base, scales and what is left unquantized among them."""


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


def training_memory(
    config: PretrainedConfig,
    count: ParameterCount,
    spec: TrainSpec,
    *,
    full: bool,
    positions: int,
    device: str,
) -> Memory:
    """Memory of training on each of the devices that a cell takes.

    Args:
        config: configuration of the base model.
        count: its parameters under the method.
        spec: the recipe; "auto" precision counts as bfloat16 on a GPU.
        full: whether the method trains the base itself.
        positions: tokens in a block, virtual ones among them.
        device: cpu or cuda.
    """
    kind = device.partition(":")[0]
    half = spec.dtype == "bfloat16" or (spec.dtype == "auto" and kind == "cuda")
    number = 2 if half else 4
    share = spec.processes if spec.fsdp else 1
    frozen = 0 if full else count.n_params
    weights = frozen * WEIGHT_BYTES.get(spec.quantization, number) / share
    training = count.n_trainable * 16 / share
    tokens = positions * spec.micro_batch
    layer = 17 * number * tokens * config.hidden_size
    layers = config.num_hidden_layers
    held = layer + layers * number * tokens * config.hidden_size if spec.gradient_checkpointing else layers * layer
    logits = 3 * 4 * min(tokens * config.vocab_size, chunk_elements(kind))
    return Memory(weights, training, held + logits, PROCESS_BYTES[kind])
