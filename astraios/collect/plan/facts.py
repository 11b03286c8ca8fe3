"""What follows from a cell's base, method and recipe alone: counts, operations and memory; the same for all its seeds.

Counting attaches the method to a model without storage, which takes seconds and torch; it is done once for all cells
that share it, and kept in the cache for later commands.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import CellError, UsageError
from astraios.files import cache_dir, write_atomically
from astraios.models import counting
from astraios.models.counting import count_parameters, without_storage
from astraios.models.ladders import resolve
from astraios.models.methods import METHODS
from astraios.records import ParameterCount
from astraios.train import flops, loss, memory
from astraios.train.flops import train_flops
from astraios.train.loop import TrainSpec
from astraios.train.memory import Memory, number_bytes, training_memory

if TYPE_CHECKING:
    from astraios.models.methods import TuningMethod

FILLED = 0.9
"""Of a device's memory that a plan may fill where it decides by itself: plans are good to 10 %."""


@dataclass(frozen=True)
class Facts:
    """Of one base model under one method and recipe."""

    count: ParameterCount
    flops_per_token: float
    memory: Memory
    problem: str | None
    """Why the method can't be attached; then nothing else is known but the base's parameters."""


def facts_of(
    model_id: str, method_id: str, settings: Mapping[str, Any], train: TrainSpec, sequence_length: int, device: str
) -> Facts:
    """Facts, from the cache where it has them.

    Raises:
        AstraiosError: the base model can't be had.
    """
    recipe = {f.name: getattr(train, f.name) for f in dataclasses.fields(train) if f.name in _MATTER}
    return _facts(
        model_id,
        method_id,
        json.dumps(dict(settings), sort_keys=True),
        json.dumps(recipe, sort_keys=True),
        sequence_length,
        "cpu" if device == "cpu" else "cuda",
    )


_MATTER = ("steps", "batch_size", "micro_batch", "dtype", "quantization", "gradient_checkpointing", "processes", "fsdp")
"""Fields of the recipe on which facts depend (batch_size only because the others are checked against it)."""


@functools.cache
def _facts(model_id: str, method_id: str, settings: str, recipe: str, length: int, device: str) -> Facts:
    _, rung = resolve(model_id)
    if not rung.config:
        # A model of the hub or of a folder: what it is can change under the same name.
        return _worked_out(model_id, method_id, settings, recipe, length, device)
    config = json.dumps(dict(rung.config), sort_keys=True, default=str)
    key = [_code(method_id), config, method_id, settings, recipe, length, device, _versions()]
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    file = cache_dir() / "facts" / f"{name}.json"
    try:
        return _read(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError):
        facts = _worked_out(model_id, method_id, settings, recipe, length, device)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, json.dumps(dataclasses.asdict(facts)).encode())
    except OSError:
        pass  # A cache that can't be written costs time, nothing else.
    return facts


def _read(content: dict[str, Any]) -> Facts:
    return Facts(
        ParameterCount(**content["count"]),
        float(content["flops_per_token"]),
        Memory(**content["memory"]),
        content["problem"],
    )


@functools.cache
def _code(method_id: str) -> str:
    """Hash of the formulas: what others made is worked out again."""
    whole, kinds = hashlib.sha256(), type(METHODS.get(method_id)).__mro__[:-1]
    of_method = [sys.modules[name] for name in sorted({kind.__module__ for kind in kinds})]
    for module in (counting, flops, loss, memory, *of_method, sys.modules[__name__]):
        whole.update(Path(str(module.__file__)).read_bytes())
    return whole.hexdigest()[:16]


@functools.cache
def _versions() -> str:
    found = []
    for package in ("astraios", "torch", "transformers", "peft"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _worked_out(model_id: str, method_id: str, settings: str, recipe: str, length: int, device: str) -> Facts:
    ladder, _ = resolve(model_id)
    config, method, chosen = ladder.config(model_id), METHODS.get(method_id), json.loads(settings)
    train = TrainSpec(**json.loads(recipe))
    try:
        count, problem = count_parameters(config, method, chosen, train.steps), None
    except (CellError, UsageError) as error:
        base = count_parameters(config, METHODS.get("fft"), {}, train.steps)
        count, problem = dataclasses.replace(base, n_trainable=0), str(error)
    if problem:
        return Facts(count, 0.0, Memory(0.0, 0.0, 0.0, 0.0), problem)
    n_virtual = method.n_virtual_tokens(chosen)
    per_token = train_flops(
        config, count, kind=method.kind, n_tokens=1, sequence_length=length, n_virtual_tokens=n_virtual
    )
    return Facts(count, per_token, _held(model_id, count, method, chosen, train, length, device), None)


def _held(
    model_id: str,
    count: ParameterCount,
    method: TuningMethod,
    settings: Mapping[str, Any],
    train: TrainSpec,
    length: int,
    device: str,
    micro_batch: int | None = None,
) -> Memory:
    config = resolve(model_id)[0].config(model_id)
    return training_memory(
        config,
        count,
        train,
        full=method.kind == "full",
        positions=length + method.n_virtual_tokens(settings),
        device=device,
        trained_bytes=method.trained_bytes,
        working=method.working(without_storage(config), settings, number_bytes(train, device)),
        micro_batch=micro_batch,
    )


def most_blocks(
    model_id: str,
    method_id: str,
    settings: Mapping[str, Any],
    train: TrainSpec,
    sequence_length: int,
    device: str,
    memory_bytes: float,
) -> int:
    """Blocks in one forward pass: the largest share of a process's part of the batch whose plan fits a device, 1 where
    none does.

    Raises:
        AstraiosError: the base model can't be had.
    """
    known = facts_of(model_id, method_id, settings, train, sequence_length, device)
    kind, part = "cpu" if device == "cpu" else "cuda", train.batch_size // train.processes
    method = METHODS.get(method_id)
    for blocks in range(part, 1, -1):
        if part % blocks == 0 and not known.problem:
            planned = _held(model_id, known.count, method, settings, train, sequence_length, kind, blocks)
            if planned.total <= FILLED * memory_bytes:
                return blocks
    return 1
