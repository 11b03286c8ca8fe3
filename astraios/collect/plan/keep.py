"""What stays on disk when a cell is done, within the sweep's budget. Nothing here deletes anything."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from pathlib import Path

from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.compute import KeepSpec
from astraios.errors import StoreError
from astraios.models.methods import METHODS

GB = 10**9


def is_kept(kind: str, keep: KeepSpec) -> bool:
    """Whether the tuned model of a method of this kind stays."""
    return keep.full_models if kind == "full" else keep.adapters


def needed_bytes(plans: Sequence[Plan], keep: KeepSpec) -> int:
    """Bytes that cells will add: what they keep, and the largest of the states that one of them resumes from."""
    kept = sum(p.kept_bytes for p in plans if is_kept(METHODS.get(p.cell.method_id).kind, keep))
    if keep.checkpoints:
        kept += sum(p.weights_bytes * math.ceil(p.cell.train.steps / p.cell.train.checkpoint_every) for p in plans)
    return kept + max((p.checkpoint_bytes for p in plans), default=0)


def check_disk(plans: Sequence[Plan], keep: KeepSpec, out: Path) -> None:
    """Refuses, before anything is trained, what the budget or the disk can't hold.

    Args:
        plans: cells that are still to be run.
        keep: the sweep's [keep] table.
        out: folder of the run directories.

    Raises:
        StoreError: the line says how much is needed and what to change.
    """
    needed = needed_bytes(plans, keep)
    ways = f"set [keep] {'checkpoints = false, ' * keep.checkpoints}full_models = false or adapters = false"
    if keep.disk_gb is not None:
        used = sum(f.stat().st_size for f in out.rglob("*") if f.is_file())
        if used + needed > keep.disk_gb * GB:
            raise StoreError(
                f"{len(plans)} cells need {needed / GB:.3g} GB beside the {used / GB:.3g} GB in {out.name}, over "
                f"[keep] disk_gb = {keep.disk_gb:g}: {ways}, or raise disk_gb"
            )
    free = shutil.disk_usage(out).free
    if needed > free:
        raise StoreError(f"{len(plans)} cells need {needed / GB:.3g} GB and {free / GB:.3g} are free: {ways}")
