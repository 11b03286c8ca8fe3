"""What cells run on and what they leave behind: the sweep's [compute] and [keep] tables. No number depends on them."""

from __future__ import annotations

from dataclasses import dataclass

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
class KeepSpec:
    """The sweep's [keep] table: what stays on disk when a cell is done. None of it changes a number."""

    adapters: bool = True
    """What a method adds to the base; the base itself is named, not copied."""
    full_models: bool = True
    """The whole model, of methods that change all of it."""
    disk_gb: float | None = setting(None, above=0, unit="GB")
    """Most that the folder of run directories may hold, in gigabytes (10^9 bytes); asked before anything is trained."""

    def __post_init__(self) -> None:
        check_fields(self, "[keep] ")
