"""A job: what one process of a sweep is started for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from astraios.collect.plan.cell import Cell
    from astraios.collect.plan.cell_plan import Plan

STAGES = ("base", "train", "evaluate", "cell")


@dataclass(frozen=True)
class Job:
    """Something that one process does: a base model to prepare, or a cell, or a stage of one."""

    key: str
    label: str
    model_id: str
    weight: float
    """Estimated FLOPs, to start what takes longest first."""
    plan: Plan | None = None
    """The cell's; None: prepare the base model."""
    after: str | None = None
    """Key of the job that must be done before."""
    stage: str = "cell"
    """base, train, evaluate, or cell (both in one process)."""

    @property
    def cell(self) -> Cell | None:
        return self.plan.cell if self.plan else None

    @property
    def device(self) -> str:
        """cpu, cuda, or auto where the plan was made for nothing in particular; a base model is built on the CPU."""
        return self.plan.device if self.plan else "cpu"

    @property
    def host_bytes(self) -> float | None:
        """Main memory that it is estimated to need, of all its processes together."""
        return self.plan.memory.host if self.plan and self.plan.memory else None

    @property
    def n_devices(self) -> int:
        """Devices that it keeps busy."""
        return self.plan.cell.train.processes if self.plan and self.stage != "evaluate" else 1

    @property
    def n_threads(self) -> int:
        """CPU threads that it keeps busy."""
        return self.n_devices * (self.plan.cell.threads if self.plan else 1)
