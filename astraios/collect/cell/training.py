"""What a cell trains with: its base model, its loop and its packed data, for one process or several that share it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
from typing import TYPE_CHECKING, Any

from astraios.collect.plan.facts import most_blocks
from astraios.collect.plan.sweep import Cell
from astraios.data import packing as instruction_data
from astraios.data.sources import Record
from astraios.errors import CellError
from astraios.files import cache_dir, exclusive
from astraios.hub import came
from astraios.models.devices import allow_tf32, has_bfloat16
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS
from astraios.records import DatasetRow
from astraios.train.group import ALONE
from astraios.train.memory import GB

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from astraios.train.loop import Trainer

PACKING = 4
"""Version of the packing, a part of its name in the cache."""


class Training:
    """A cell's base model and training loop, for the process that does all of it and for those that share it.

    Args:
        cell: what is asked for.
        device: where the base is loaded.
        computes_on: cpu or cuda, where that is another: decides the precision.
        micro_batch: blocks in one forward pass, where the recipe leaves them to the device.
    """

    def __init__(self, cell: Cell, device: str, computes_on: str | None = None, micro_batch: int | None = None) -> None:
        self.cell, self.device, self.computes_on = cell, device, computes_on or device
        self.micro_batch = micro_batch
        self.method = METHODS.get(cell.method_id)
        self.came: str | None = None
        """The commit of the hub that the base came from, once it is loaded."""

    def load_base(self, bare: bool = False) -> tuple[Any, PreTrainedTokenizerBase]:
        """The base model as the recipe wants it, and its tokenizer.

        Args:
            bare: without weights, on torch's meta device.

        Raises:
            CellError: it can't be had, or another revision of it came.
        """
        ladder, base = resolve(self.cell.base)[0], self.cell.base
        how: dict[str, Any] = {
            "dtype": self.dtype,
            "trust_remote_code": self.cell.trust_remote_code,
            "attention": None if self.cell.train.attention == "auto" else self.cell.train.attention,
        }
        if bare:
            loaded = ladder.load_bare(base, **how)
        else:
            loaded = ladder.load(base, quantization=self._quantization, device=self.device, **how)
        if ladder.has_revisions(self.cell.model_id):
            self.came = came(self.cell.model_id, self.cell.revision)
            if self.came and self.cell.revision not in (None, self.came):
                raise CellError(f"base model {base}: revision {self.came} came; the sweep asked for another")
        return loaded

    @property
    def _quantization(self) -> str | None:
        return None if self.cell.train.quantization == "none" else self.cell.train.quantization

    @property
    def dtype(self) -> str:
        """Of the base: float32 or bfloat16."""
        if self.cell.train.dtype != "auto":
            return self.cell.train.dtype
        return "bfloat16" if self.computes_on.startswith("cuda") and has_bfloat16() else "float32"

    def check(self, config: Any) -> None:
        """Refuses what can't be trained, before anything is spent on it."""
        self.method.check(
            config,
            self.cell.settings,
            self.cell.train.steps,
            sequence_length=self.cell.data.sequence_length,
            quantization=self._quantization,
        )
        if self.cell.train.fsdp:
            self.method.check_shards(self.cell.train.quantization)

    def trainer(self, base: Any, packed: instruction_data.PackedData, **hooks: Any) -> Trainer:
        """The loop over the tuned model; `hooks` are those of Trainer."""
        from astraios.train.loop import Trainer

        cell, spec = self.cell, self.cell.train
        self.check(base.config)
        words, highest = base.get_input_embeddings().weight.shape[0], max(packed.train.max(), packed.test.max())
        if highest >= words:
            raise CellError(
                f"the tokenizer of {cell.model_id} gives token {int(highest)}, but the model has {words} embeddings: "
                "give the model its own tokenizer, or embeddings for all tokens"
            )
        allow_tf32()
        if spec.gradient_checkpointing:
            self._recompute(base)
        assert spec.learning_rate is not None  # filled in by the sweep
        return Trainer(
            self.attached(base),
            packed,
            spec,
            method=self.method,
            settings=dict(cell.settings),
            learning_rate=spec.learning_rate,
            seed=cell.seed,
            micro_batch=self.micro_batch,
            **hooks,
        )

    def attached(self, base: Any) -> Any:
        """The base with the method's new parameters in it, drawn from the cell's seed."""
        import torch

        torch.manual_seed(self.cell.seed)
        with torch.device("meta") if base.device.type == "meta" else contextlib.nullcontext():
            return self.method.attach(base, self.cell.settings, self.cell.train.steps)

    def trained(self, base: Any, state: Any) -> Any:
        """The tuned model of a state after its last step: nothing of the optimizer is read or made.

        Args:
            base: the base model.
            state: what the checkpoint holds.
        """
        model = self.attached(base)
        self.set_weights(model, state)
        ALONE.load_generators(next(model.parameters()).device, state.tensors)
        return model.train()

    def set_weights(self, model: Any, state: Any) -> None:
        """Gives the tuned model the weights of a state."""
        ALONE.load_weights(model, self.method, state.tensors["model"])

    def _recompute(self, base: Any) -> None:
        """Gradient checkpointing.

        bitsandbytes keeps what its 8-bit layers are given outside autograd's own memory, where only the re-entrant kind
        frees it; and that wants inputs that require gradients.
        """
        reentrant = self.cell.train.quantization == "8bit"
        # Before transformers 5.23 it has the older name alone.
        enable = getattr(base, "activation_checkpointing_enable", None) or base.gradient_checkpointing_enable
        enable({"use_reentrant": reentrant})
        if reentrant:
            base.enable_input_require_grads()


def micro_batch(cell: Cell, device: str, device_memory_gb: float | None) -> int:
    """Blocks in one forward pass: as the recipe says, or as many as the plan of memory holds on the devices here.

    Args:
        cell: what is asked for.
        device: cpu or cuda.
        device_memory_gb: what one has, where the sweep says that (10^9 bytes); nothing else is known of a CPU's share.
    """
    if not isinstance(cell.train.micro_batch, str):
        return cell.train.micro_batch
    memory = device_memory_gb * GB if device_memory_gb else _least_memory() if device.startswith("cuda") else 0.0
    return most_blocks(cell.base, cell.method_id, cell.settings, cell.train, cell.data.sequence_length, device, memory)


def _least_memory() -> float:
    """Bytes of the smallest GPU here."""
    import torch

    return float(min(torch.cuda.get_device_properties(i).total_memory for i in range(torch.cuda.device_count())))


def check_identity(cell: Cell) -> None:
    """Refuses data or a base model that are not on this machine what they were where the plan was made.

    Raises:
        CellError: they are not.
    """
    from astraios.data.sources import SOURCES

    if SOURCES.get(cell.data.source).identity(cell.data.options) != cell.data_identity:
        raise CellError(
            f"the data of source {cell.data.source!r} are not here what they were where the sweep was planned "
            "(for python-stdlib: another Python): use the same installation everywhere"
        )
    ladder, rung = resolve(cell.base)
    known = cell.revision is None or ladder.revision(cell.base) == cell.revision
    if not known or (cell.weights and ladder.weights(rung.model_id) != cell.weights):
        raise CellError(f"base model {cell.model_id} is not here what it was where the sweep was planned")


def prepared_data(
    cell: Cell, tokenizer: PreTrainedTokenizerBase
) -> tuple[instruction_data.PackedData, DatasetRow, list[Record]]:
    """Packed blocks, their record and the held-out records; packed once for all cells of a machine.

    Raises:
        DataError: the data can't be had or don't fill a block.
    """
    import hashlib

    import torch

    whole = dataclasses.replace(cell.data, n_train_tokens=None)
    content = json.dumps([PACKING, dataclasses.asdict(whole), cell.data_identity, tokenizer.name_or_path])
    vocabulary = hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()
    key = hashlib.sha256((content + vocabulary).encode()).hexdigest()[:24]
    file = cache_dir() / "data" / f"{key}.pt"
    with exclusive(file.with_suffix(".lock"), wait=math.inf, what="the packed data"):
        if not file.is_file():
            source = instruction_data.load(cell.data)
            packed, record = instruction_data.prepare(whole, source, tokenizer)
            bundle = {
                "packed": dataclasses.asdict(packed),
                "record": dataclasses.asdict(record),
                "held_out": [(r.prompt, r.completion, r.earlier) for r in source.test],
            }
            temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
            torch.save(bundle, temporary)
            os.replace(temporary, file)
        bundle = torch.load(file, weights_only=True)
    packed, record = instruction_data.first_blocks(
        cell.data, instruction_data.PackedData(**bundle["packed"]), DatasetRow(**bundle["record"])
    )
    return packed, record, [Record(*fields) for fields in bundle["held_out"]]
