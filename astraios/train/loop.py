"""The training loop: packed blocks, one optimizer, evaluation at fixed steps, exact resume."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from astraios.data.packing import PackedData, block_order
from astraios.errors import CellError, UsageError
from astraios.records import LossPoint
from astraios.runs.identity import asked
from astraios.settings import check_fields, setting
from astraios.train.group import ALONE, Group
from astraios.train.layers import as_written, compile_layers, forget_compiled
from astraios.train.loss import cross_entropy_sum, summed_cross_entropy
from astraios.train.precision import autocast, lower_precision

if TYPE_CHECKING:
    from torch import Tensor, nn

    from astraios.train.hooks import Hooks


@dataclass(frozen=True)
class TrainSpec:
    """The sweep's [train] table; the defaults are the paper's recipe (sections 2.2 and its training code)."""

    steps: int = setting(200, minimum=1)
    """Optimizer steps (global steps)."""
    batch_size: int = setting(32, minimum=1, unit="blocks")
    """Blocks in a global batch."""
    micro_batch: int | str = setting(1, kind="int", minimum=1, words=("auto",), unit="blocks")
    """Blocks in one forward pass; the rest of the batch is accumulated. auto takes the largest share of the batch that
    the plan of memory holds on the device: [compute] device_memory_gb, else what the GPU has, and 1 on a CPU."""
    learning_rate: float | None = setting(None, above=0)
    """Peak learning rate; None takes the tuning method's own (1e-4, full fine-tuning 1e-6)."""
    warmup_steps: int = setting(12, minimum=0, unit="steps")
    """Steps of linear warm-up."""
    final_learning_rate: float = setting(0.0, minimum=0, maximum=1)
    """Where the cosine ends, as a share of the peak."""
    weight_decay: float = setting(0.05, minimum=0)
    """On matrices; never on biases and norms."""
    betas: tuple[float, float] = setting((0.9, 0.999), minimum=0, below=1)
    clip_norm: float = setting(1.0, minimum=0)
    """Largest norm of the gradient; 0 does not clip."""
    eval_every: int = setting(10, minimum=1, counts=False, unit="steps")
    """Steps between evaluations on train and test; the first is before tuning, the last after it."""
    log_every: int = setting(5, minimum=1, counts=False, unit="steps")
    """Steps between records of the training batch's loss."""
    checkpoint_every: int = setting(10, minimum=1, counts=False, unit="steps")
    """Steps between states from which an interrupted run goes on."""
    score_every: int | None = setting(None, minimum=1, later=True, counts=False, unit="steps")
    """Steps between scores of the sweep's tasks while training (and of the losses there); None scores the end alone."""
    dtype: str = setting("auto", choices=("auto", "float32", "bfloat16"))
    """Of the base: float32, bfloat16, or auto (bfloat16 where the device has it). What is trained is kept in float32
    while it is trained: in bfloat16 a step at 1e-6 would be lost in rounding."""
    quantization: str = setting("auto", choices=("auto", "none", "8bit", "nf4"))
    """Of the frozen base: none, 8bit, nf4, or auto (the tuning method's own)."""
    gradient_checkpointing: bool = False
    attention: str = setting(
        "auto", choices=("auto", "sdpa", "flash_attention_2", "flash_attention_3", "eager"), later=True
    )
    """How attention is computed: sdpa, flash_attention_2, flash_attention_3, eager, or auto (transformers' choice,
    SDPA where the architecture has it)."""
    compile: bool = setting(False, later=True)
    """Whether torch.compile makes one program of each of the model's blocks: slower at the start, fewer and larger
    kernels on a GPU afterwards. Evaluations and scores run the blocks as they are written."""
    processes: int = setting(1, minimum=1, later=True)
    """Processes that train a cell together, a device each; they share the global batch."""
    fsdp: bool = setting(False, later=True)
    """Whether each of them holds only its share of the model (FSDP) rather than a copy."""

    def __post_init__(self) -> None:
        check_fields(self, "[train] ")
        if self.batch_size % (self.least_blocks * self.processes):
            times = f" x processes = {self.processes}" if self.processes > 1 else ""
            raise UsageError(
                f"[train] batch_size = {self.batch_size} is no multiple of micro_batch = {self.micro_batch}{times}"
            )
        if self.fsdp and self.processes < 2:
            raise UsageError("[train] fsdp = true shares a model among processes: set processes to 2 or more")
        if self.compile and self.fsdp:
            raise UsageError("[train] compile = true does not compile shares of a model: set fsdp or compile to false")
        if self.score_every and self.processes > 1:
            raise UsageError(
                f"[train] score_every scores in the one process that trains, and processes = {self.processes}: set "
                "[keep] checkpoints = true instead, and then run `astraios evaluate RUN_DIRECTORY --checkpoints`"
            )

    @property
    def least_blocks(self) -> int:
        """Blocks in one forward pass: as asked, and 1 where that is left to the device."""
        return 1 if isinstance(self.micro_batch, str) else self.micro_batch

    @cached_property
    def asked(self) -> dict[str, Any]:
        """What is part of a run's identity, as JSON types."""
        return asked(self)


@dataclass
class TrainState:
    """Where a run is: enough to go on as if it had never stopped."""

    step: int = 0
    train_seconds: float = 0.0
    """Seconds spent in training steps, evaluations left out."""
    eval_seconds: float = 0.0
    peak_memory_bytes: int = 0
    """Most that a device (or a process on a CPU) has held so far."""
    micro_batch: int | None = None
    """Blocks in one forward pass; None where a state of before does not say."""
    tensors: dict[str, Any] = field(default_factory=dict)
    """Trainable parameters, optimizer and generator states."""


def learning_rate_at(spec: TrainSpec, peak: float, step: int) -> float:
    """Learning rate of a step (from 0): linear warm-up, then a cosine down to `final_learning_rate` of the peak."""
    if step < spec.warmup_steps:
        return peak * step / spec.warmup_steps if spec.warmup_steps else peak
    progress = (step - spec.warmup_steps) / max(1, spec.steps - spec.warmup_steps)
    floor = spec.final_learning_rate
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


def build_optimizer(model: nn.Module, spec: TrainSpec) -> Any:
    """AdamW over what is trainable, weight decay on matrices alone."""
    import torch

    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": spec.weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=0.0, betas=spec.betas, fused=True)


class Trainer:
    """One run of the loop over one model.

    Args:
        model: ready to be tuned: exactly the trainable parameters require gradients.
        data: packed blocks.
        spec: the recipe.
        method: hooks of the tuning method, or None for pretraining.
        settings: the method's settings.
        learning_rate: peak.
        seed: of the order of blocks and of dropout.
        on_loss: called with each LossPoint.
        on_score: called with the model and the state after every `score_every`th step but the last.
        on_step: called with the number of steps done.
        save: called with a TrainState at checkpoints.
        group: the processes that train together; by default this one alone.
        micro_batch: blocks in one forward pass, where the recipe leaves them to the device.
    """

    def __init__(
        self,
        model: nn.Module,
        data: PackedData,
        spec: TrainSpec,
        *,
        method: Hooks | None,
        settings: dict[str, Any] | None = None,
        learning_rate: float,
        seed: int,
        on_loss: Callable[[LossPoint], None],
        on_score: Callable[[nn.Module, TrainState], None] = lambda model, state: None,
        on_step: Callable[[int], None] = lambda step: None,
        save: Callable[[TrainState], None] = lambda state: None,
        group: Group = ALONE,
        micro_batch: int | None = None,
    ) -> None:
        self.data, self.spec, self.method, self.group = data, spec, method, group
        self.learning_rate, self.seed = learning_rate, seed
        self.on_loss, self.on_score, self.on_step, self.save = on_loss, on_score, on_step, save
        self.n_virtual = method.n_virtual_tokens(settings or {}) if method else 0
        self.micro_batch = micro_batch or spec.least_blocks
        if spec.batch_size % (self.micro_batch * group.size):
            raise CellError(
                f"[train] batch_size = {spec.batch_size} can't be shared by {group.size} processes with micro_batch = "
                f"{self.micro_batch}: it must be a multiple of their product"
            )
        self.model, self.raised = group.prepared(model)
        if spec.compile:
            compile_layers(self.model)
        self.device = next(self.model.parameters()).device
        self.optimizer = build_optimizer(self.model, spec)
        self.tokens_per_step = spec.batch_size * data.train.shape[1]
        self.order = block_order(len(data.train), spec.steps * spec.batch_size, seed)
        self.state = TrainState(micro_batch=self.micro_batch)
        group.vary_seed(seed)

    def restore(self, state: TrainState | None) -> None:
        """Goes back to a checkpoint that `save` was given, where there is one; of several processes the first one's."""
        known = self.group.received(None if state is None else vars(state))
        if known is None:
            return
        tensors = known.pop("tensors")
        self.group.load_weights(self.model, self.method, tensors["model"])
        self.group.load_optimizer(self.optimizer, tensors["optimizer"])
        self.group.load_generators(self.device, tensors)
        # A run goes on with the blocks that it began with, unless this device holds fewer.
        self.micro_batch = min(known.get("micro_batch") or self.micro_batch, self.micro_batch)
        self.state = TrainState(**{**known, "micro_batch": self.micro_batch})

    def run(self) -> TrainState:
        """Trains to the last step.

        Raises:
            CellError: the loss is no longer a number.
        """
        self.model.train()
        if self.state.step == 0:
            self._evaluate(0)
        while self.state.step < self.spec.steps:
            step = self.state.step + 1
            start = time.perf_counter()
            loss, regularizer = self._step(step)
            self.state.step = step
            self.state.train_seconds += time.perf_counter() - start
            if not math.isfinite(loss):
                raise CellError(f"the loss is {loss} at step {step}: lower the learning rate ({self.learning_rate:g})")
            if step % self.spec.log_every == 0:
                self.on_loss(self._point("batch", step, loss, regularizer))
            last = step == self.spec.steps
            scored = self.spec.score_every is not None and step % self.spec.score_every == 0
            if step % self.spec.eval_every == 0 or scored or last:
                self._evaluate(step)
            if scored and not last:
                self._score()
            if step % self.spec.checkpoint_every == 0 or last:
                self.save(self._checkpoint())
            self.on_step(step)
        return self.state

    def finished(self) -> nn.Module:
        """The tuned model, in the base's precision, once training is over."""
        lower_precision(self.raised)
        forget_compiled(self.model)
        return self.model

    def _step(self, step: int) -> tuple[float, float | None]:
        """One optimizer step (numbered from 1); mean cross-entropy of its batch and the method's regulariser."""
        import torch

        lr = learning_rate_at(self.spec, self.learning_rate, step - 1)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        batch = self.order[(step - 1) * self.spec.batch_size : step * self.spec.batch_size]
        counted = int((self.data.train_labels[batch][:, 1:] >= 0).sum())
        if not counted:
            raise CellError(f"no token of step {step}'s batch counts in the loss: set [data] answers_only = false")
        # Added up where it is: asking for each micro-batch's value would make the device wait for us.
        summed = torch.zeros((), dtype=torch.float64, device=self.device)
        regularizer = None
        for ids, labels in self._micro_batches(self.group.part_of(batch)):
            with self._autocast():
                loss = cross_entropy_sum(self.model, ids, labels, self.n_virtual)
            summed += loss.detach()
            loss = loss / counted
            extra = self.method.regularizer(self.model) if self.method else None
            if extra is not None:
                regularizer = extra.detach()
                loss = loss + extra * (len(ids) / len(batch))
            (loss * self.group.loss_scale).backward()
        trainable = [p for p in self.model.parameters() if p.requires_grad]
        self.group.add_gradients(trainable)
        if self.spec.clip_norm:
            torch.nn.utils.clip_grad_norm_(trainable, self.spec.clip_norm)
        self.optimizer.step()
        if self.method:
            self.method.after_step(self.model, step)
        self.optimizer.zero_grad(set_to_none=True)
        [total] = self.group.sums([float(summed)])
        return total / counted, None if regularizer is None else float(regularizer)

    def _autocast(self) -> Any:
        return autocast(self.device.type, bool(self.raised))

    def _micro_batches(self, batch: list[int]) -> Iterator[tuple[Tensor, Tensor]]:
        ids, labels = self.data.train[batch].to(self.device), self.data.train_labels[batch].to(self.device)
        yield from zip(ids.split(self.micro_batch), labels.split(self.micro_batch), strict=True)

    def _point(self, split: str, step: int, loss: float, regularizer: float | None = None) -> LossPoint:
        """A loss after a step, with the rate of that step; before the first there is none."""
        rate = learning_rate_at(self.spec, self.learning_rate, step - 1) if step else None
        return LossPoint(split, step, step * self.tokens_per_step, loss, regularizer, rate)

    def _evaluate(self, step: int) -> None:
        start = time.perf_counter()
        n = self.data.train_eval_blocks
        for split, ids, labels in (
            ("test", self.data.test, self.data.test_labels),
            ("train", self.data.train[:n], self.data.train_labels[:n]),
        ):
            if len(ids):
                ids, labels = self.group.share_of_blocks(ids, labels)
                with self._autocast(), as_written(self.model):
                    sums = summed_cross_entropy(self.model, ids, labels, self.n_virtual)
                total, count = self.group.sums([*sums])
                if not count:
                    raise CellError(
                        f"no token of the {split} split counts in the loss: set [data] answers_only = false"
                    )
                self.on_loss(self._point(split, step, total / count))
        self.state.eval_seconds += time.perf_counter() - start

    def _score(self) -> None:
        """Scores the model as it is; training goes on as if nothing had been drawn meanwhile."""
        start = time.perf_counter()
        generators = self.group.generators(self.device)
        self.model.eval()
        with self._autocast(), as_written(self.model):
            self.on_score(self.model, self.state)
        self.model.train()
        self.group.load_generators(self.device, generators)
        self.state.eval_seconds += time.perf_counter() - start

    def _checkpoint(self) -> TrainState:
        state, group = self.state, self.group
        state.peak_memory_bytes = max(state.peak_memory_bytes, group.largest(peak_memory_bytes(self.device.type)))
        tensors = {
            "model": group.weights(self.model, self.method),
            "optimizer": group.whole(self.optimizer.state_dict()),
            **group.generators(self.device),
        }
        return replace(state, tensors=tensors)


def peak_memory_bytes(device: str) -> int:
    """Peak memory of the device so far, or of this process on a CPU."""
    if device.startswith("cuda"):
        import torch

        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
