"""Launchers start cells somewhere and say how they are; nothing outside this folder knows where that is.

A launcher decides nothing: what is ready to start, what is tried again and what is done is `collect.launch.schedule`'s
business, which goes by the run directories and by nothing that a cluster says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from astraios.collect.plan.compute import ComputeSpec
from astraios.collect.plan.job import STAGES, Job
from astraios.registry import Registry
from astraios.runs.place import Place
from astraios.settings import build, require_table
from astraios.train.memory import GB


@dataclass(frozen=True)
class Event:
    """News of a job."""

    key: str
    kind: str
    """From a pool: started, progress, ended (how, the run directory says), lost (with its machine: no fault of the
    job). To the user: started, progress, retried, done, failed or stopped (as hopeless)."""
    stage: str = ""
    """While in progress: loading, training, scoring ...; when ended, lost, retried, failed or stopped: the
    reason."""
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Orders:
    """What a pool needs to know to start jobs."""

    sweep_json: str
    """The sweep, for the record."""
    place: Place
    """Where the run directories are."""
    compute: ComputeSpec
    options: Mapping[str, Any]
    """The sweep's [launch.NAME] table."""

    @property
    def folder(self) -> Path:
        """Where a launcher keeps its files: what each process was given, and what it said."""
        return self.place.path / ".launch"

    def memory_bytes(self, job: Job) -> float | None:
        """Main memory that a job asks its cluster for; None leaves it to the cluster's default.

        On CPUs nothing is asked by default: SLURM refuses any amount where its nodes' memory was never configured.
        """
        if self.compute.memory_gb:
            return self.compute.memory_gb * GB
        return None if job.device == "cpu" else job.host_bytes


class Pool:
    """Where jobs run. Whoever opens one closes it."""

    def adopted(self) -> list[str]:
        """Keys of jobs that an earlier command started and that still run."""
        return []

    def room(self) -> int:
        """How many more jobs may be started now."""
        raise NotImplementedError

    def start(self, jobs: Sequence[Job]) -> None:
        """Starts a process for each job (`collect.cell.process` says what it does)."""
        raise NotImplementedError

    def poll(self, seconds: float) -> list[Event]:
        """What has happened since the last call; waits for something to happen, but no longer than `seconds`."""
        raise NotImplementedError

    def stop(self, key: str, reason: str) -> None:
        """Ends a job that takes too long; `poll` will say that it has ended, and give this reason."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what is running and gives everything back."""
        raise NotImplementedError


@dataclass(frozen=True)
class NoSettings:
    """[launch.NAME] of a launcher that asks for nothing."""


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """A way of running jobs."""

    name: str
    settings: ClassVar[type] = NoSettings
    """Dataclass of what [launch.NAME] may say; a sub-table named like a stage is laid over it for that stage."""

    def check(self, options: Mapping[str, Any]) -> None:
        """Refuses a [launch.NAME] table that makes no sense.

        Raises:
            UsageError: the line names the field.
        """
        for stage in (None, *STAGES):
            self.read(options, stage)

    def read(self, options: Mapping[str, Any], stage: str | None = None) -> Any:
        """[launch.NAME] as `settings`, for jobs of one stage."""
        require_table(options, f"[launch.{self.name}] ")
        own = options.get(stage, {}) if stage else {}
        require_table(own, f"[launch.{self.name}.{stage}] ")
        plain = {key: value for key, value in options.items() if key not in STAGES}
        return build(self.settings, {**plain, **own}, f"[launch.{self.name}] ")

    def device(self) -> str:
        """cpu or cuda: what cells of `device = "auto"` will find."""
        return "cuda"

    def device_memory(self, device: str) -> float | None:
        """Bytes that a device (on a CPU: the machine) has, where that is known before anything is started."""
        return None

    def open(self, jobs: Sequence[Job], orders: Orders) -> Pool:
        """A pool for these jobs; none of them is started yet.

        Raises:
            MissingExtraError: a package that it needs is not installed.
            AstraiosError: the cluster can't be reached.
        """
        raise NotImplementedError


LAUNCHERS: Registry[Launcher] = Registry(Launcher, "astraios.collect.launch", "launcher", group="astraios.launchers")
