"""What cells run on and what they leave behind: the sweep's [compute] and [keep] tables. No number depends on them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from astraios.errors import UsageError
from astraios.settings import check_fields, setting

STAGES = ("together", "split")


@dataclass(frozen=True)
class ComputeSpec:
    """The sweep's [compute] table: what cells run on. None of it changes a number but `threads`."""

    workers: int = setting(0, minimum=0)
    """Cells at a time; 0 takes one a device, or one a `threads` cores."""
    threads: int = setting(1, minimum=1)
    """CPU threads a cell."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    stages: str = setting("together", choices=STAGES)
    """together trains and evaluates a cell in one process; split makes them two, the second waiting for the first, so
    that evaluation can use other machines."""
    retries: int = setting(0, minimum=0)
    """How often a cell that failed is tried again in the same call. A cell that was lost with its machine is not one
    that failed, and goes on elsewhere all the same."""
    time_limit_minutes: float | None = setting(None, above=0, unit="minutes")
    """Wall time of one try of one stage; what is over it fails, and goes on from its checkpoint when tried again."""
    stop_hopeless: float | None = setting(None, minimum=0.5, below=1, unit="level of an interval")
    """Ends a cell early once even the low end of this interval (0.9, say) of its extrapolated final loss lies above the
    best final loss of the same base, data and steps. Such a cell counts neither as done nor as failed."""
    memory_gb: float | None = setting(None, above=0, unit="GB")
    """Main memory that a cell asks Ray or SLURM for, in gigabytes (10^9 bytes); by default what a cell on GPUs is
    estimated to need, and nothing on CPUs."""
    device_memory_gb: float | None = setting(None, above=0, unit="GB")
    """Memory of the device (of the machine, on a CPU) that a cell has to fit into; by default what local ones have."""
    flops_per_second: float | None = setting(None, above=0, unit="FLOP/s")
    """Operations a second that one device sustains on these models, for estimates; by default what was measured."""
    price_per_device_hour: float | None = setting(None, minimum=0)
    """Money, for the cost of each run."""
    trust_remote_code: bool = False
    """Whether a base model from the hub may bring code of its own."""

    def __post_init__(self) -> None:
        check_fields(self, "[compute] ")


@dataclass(frozen=True)
class Hardware:
    """What a plan is made for, where that is not what is here; goes before the sweep's [compute] table."""

    device_memory_gb: float | None = None
    """Of one device, in gigabytes (10^9 bytes)."""
    devices: int | None = None
    """How many one machine has: a cell that wants more is refused, and the sweep's hours are reckoned for so many."""
    price: float | None = None
    """Money for an hour of one of them."""

    def __post_init__(self) -> None:
        for option, value in (("--device-memory", self.device_memory_gb), ("--devices", self.devices)):
            if value is not None and value <= 0:
                raise UsageError(f"{option} {value}: must be above 0")
        if self.price is not None and self.price < 0:
            raise UsageError(f"--price {self.price}: must not be below 0")

    def over(self, compute: ComputeSpec) -> ComputeSpec:
        """[compute] with this in place of what it says; memory or a number of devices speaks of GPUs."""
        asked: dict[str, Any] = {
            "device_memory_gb": self.device_memory_gb,
            "price_per_device_hour": self.price,
            "device": "cuda" if compute.device == "auto" and (self.device_memory_gb or self.devices) else None,
        }
        return dataclasses.replace(compute, **{name: value for name, value in asked.items() if value is not None})


@dataclass(frozen=True)
class KeepSpec:
    """The sweep's [keep] table: what stays on disk when a cell is done. None of it changes a number."""

    adapters: bool = True
    """What a method adds to the base; the base itself is named, not copied."""
    full_models: bool = True
    """The whole model, of methods that change all of it."""
    checkpoints: bool = False
    """The weights at every `checkpoint_every`th step, so that they can be scored afterwards."""
    disk_gb: float | None = setting(None, above=0, unit="GB")
    """Most that the folder of run directories may hold, in gigabytes (10^9 bytes); asked before anything is trained."""

    def __post_init__(self) -> None:
        check_fields(self, "[keep] ")
