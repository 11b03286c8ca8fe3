"""What a training process tells of itself: its rank, its device, its code, and who else logs this run."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import Any

from astraios.runs.environment import code_revision


def rank() -> int:
    """This process's number among those that train together; 0 where it trains alone.

    torch.distributed is asked where it has begun, else the variables that torchrun, accelerate, DeepSpeed (RANK) and
    Open MPI set.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_rank())
    return int(os.environ.get("RANK") or os.environ.get("OMPI_COMM_WORLD_RANK") or 0)


def n_devices() -> int:
    """Processes that train together, each on a device of its own."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    return int(os.environ.get("WORLD_SIZE") or os.environ.get("OMPI_COMM_WORLD_SIZE") or 1)


def device_name() -> str:
    """Name of the accelerator, or cpu; torch is not loaded to find out."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return "cpu"
    return str(torch.cuda.get_device_name())


def peak_memory_bytes() -> int | None:
    """Most memory of the accelerator that this process has held; None on a CPU."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


@cache
def code_commit() -> str | None:
    """The commit of the checkout that holds the script, as `code_revision` names it."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    start = Path(script).resolve().parent if script else Path.cwd()
    root = next((folder for folder in (start, *start.parents) if (folder / ".git").exists()), None)
    return code_revision(root, (".",)) if root else None


def other_ids() -> dict[str, dict[str, Any]]:
    """Ids under which other trackers log the same run, by tracker: what an import of theirs is recognised by."""
    found: dict[str, dict[str, Any]] = {}
    wandb = getattr(sys.modules.get("wandb"), "run", None)
    if wandb is not None:
        found["wandb"] = {"run": wandb.id, "project": wandb.project}
    mlflow = sys.modules.get("mlflow")
    active = mlflow.active_run() if mlflow is not None and hasattr(mlflow, "active_run") else None
    if active is not None:
        found["mlflow"] = {"run": active.info.run_id}
    return found
