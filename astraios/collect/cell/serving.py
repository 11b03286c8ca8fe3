"""vLLM on the model that a cell has tuned and saved, once the copy that was trained is out of memory."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from astraios.collect.cell.training import Training
from astraios.collect.plan.cell import Cell
from astraios.collect.plan.compute import KeepSpec
from astraios.collect.plan.engine import absent, engines_asked, refusal, unserved
from astraios.errors import CellError
from astraios.evaluate.generate.vllm import Server
from astraios.models.ladders import resolve

SHARE = 0.9
"""Of a GPU's memory that vLLM takes, where so much is free."""


def shared_out(cell: Cell, keep: KeepSpec, device: str) -> tuple[list[str], dict[str, str]]:
    """Entries of `tasks` that vLLM is to answer; and those that it might and does not, with the reason.

    Raises:
        CellError: vLLM is asked for by name, and can't be had.
    """
    served, reasons = [], {}
    engines = {name: engine for name, engine in engines_asked(cell).items() if engine != "transformers"}
    never = unserved(cell, keep) if engines else None
    for name, engine in engines.items():
        why = never or absent(device if engine == "auto" else None)
        if why and engine == "vllm":
            raise CellError(refusal(name, why))
        if why:
            reasons[name] = why
        else:
            served.append(name)
    return served, reasons


def serve(cell: Cell, training: Training, saved: Path) -> Server:
    """The engine on the saved model; to be called when nothing refers to the copy in memory any more.

    It runs in this process: cells are ended by killing them, which must end the engine too, and the launcher's
    processes may have no children of multiprocessing.

    Args:
        cell: what was asked for.
        training: knows the precision.
        saved: the tuned model: an adapter, or a whole one.

    Raises:
        CellError: vLLM can't load it.
    """
    give_back_memory()
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    options: dict[str, Any] = {"dtype": training.dtype, "trust_remote_code": cell.trust_remote_code}
    if training.device.startswith("cuda"):
        options["gpu_memory_utilization"] = _free_share()
    if training.method.kind == "full":
        return Server(str(saved.resolve()), None, cell.seed, **options)
    source = resolve(cell.base)[0].source(cell.base)
    assert source is not None  # as `unserved` has found
    if source[1]:
        options |= {"revision": source[1], "tokenizer_revision": source[1]}
    return Server(source[0], saved.resolve(), cell.seed, **options)


def give_back_memory() -> None:
    """Frees what nothing refers to, modules that refer to each other too, on the device as well."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _free_share() -> float:
    import torch

    free, total = torch.cuda.mem_get_info()
    return round(min(SHARE, 0.95 * free / total), 3)
