"""Launchers start cells somewhere and say how they are; nothing outside this folder knows where that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from astraios.collect.sweep import Cell, ComputeSpec
from astraios.registry import Registry


@dataclass(frozen=True)
class Job:
    """Something that one process does: a base model to prepare, or a cell."""

    key: str
    label: str
    model_id: str
    weight: float
    """Estimated FLOPs, to start what takes longest first."""
    cell: Cell | None = None
    """None: prepare the base model."""
    after: str | None = None
    """Key of the job that must be done before."""


@dataclass(frozen=True)
class Event:
    """News of a job."""

    key: str
    kind: str
    """started, progress, done or failed."""
    stage: str = ""
    """While in progress: loading, training, scoring ...; when failed: the reason."""
    done: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """A way of running jobs."""

    name: str

    def run(
        self, jobs: list[Job], sweep_json: str, out: Path, compute: ComputeSpec, tell: Callable[[Event], None]
    ) -> Mapping[str, str]:
        """Runs all jobs, those they depend on first.

        Args:
            jobs: what is to be done.
            sweep_json: the sweep, for the record.
            out: folder of the run directories.
            compute: the sweep's [compute] table.
            tell: called with each event, in the calling process.

        Returns:
            The reason of each job that failed, by key.
        """
        raise NotImplementedError


LAUNCHERS: Registry[Launcher] = Registry(Launcher, "astraios.collect.launch", "launcher", group="astraios.launchers")
