"""Cells on a Ray cluster: an existing one by its address, or one started here for the length of the sweep.

Every cell is a Ray task that starts the cell's process and waits for it. Run directories must lie where all machines of
the cluster can write them (a shared folder, s3://). A task that is lost with its machine is started again elsewhere.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from astraios.collect.launch import Event, Launcher, Orders, Pool
from astraios.collect.launch._process import environment, log_file, progress_of, write_request
from astraios.collect.plan.job import Job
from astraios.errors import StoreError
from astraios.ray_cluster import join
from astraios.settings import setting

AHEAD = 2
"""Tasks that are handed to Ray for each that it can run at a time, so that no machine waits for this process."""
PLACEMENTS = ("spread", "pack")


@dataclass(frozen=True)
class Settings:
    """[launch.ray]"""

    address: str | None = None
    """HOST:PORT of a cluster's head, or auto for the one that $RAY_ADDRESS names; without it one is started here."""
    cpus: int | None = setting(None, minimum=1)
    """Cores of a cluster started here."""
    placement: str = setting("spread", choices=PLACEMENTS)
    """spread over the machines, or pack them."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Custom resources that each cell asks for, such as {"a100" = 1}."""
    autoscaling: bool = False
    """Whether machines with GPUs are started when they are asked for: cells then wait for a GPU that is not there yet,
    where otherwise a cluster without one is refused."""
    log: bool = False
    """Whether what cells say is shown here; it is in .launch/logs under the folder of run directories in any case."""


@dataclass(frozen=True, kw_only=True)
class RayLauncher(Launcher):
    """Tasks on a Ray cluster."""

    settings: ClassVar[type] = Settings

    def open(self, jobs: Sequence[Job], orders: Orders) -> Pool:
        settings = self.read(orders.options)
        join(settings.address, "the launcher ray", cpus=settings.cpus, log=settings.log)
        return _Tasks(self, jobs, orders)


class _Tasks(Pool):
    def __init__(self, launcher: RayLauncher, jobs: Sequence[Job], orders: Orders) -> None:
        import ray

        self.launcher, self.orders = launcher, orders
        self.running: dict[Any, str] = {}
        """Key of the job of each task."""
        self.asked: dict[str, str] = {}
        """Reasons of those that were stopped."""
        self.news = _news_actor()
        self.last_news = 0.0
        self.task = _task()
        self.gpus = any(job.device != "cpu" for job in jobs)
        if self.gpus and not ray.cluster_resources().get("GPU", 0) and not launcher.read(orders.options).autoscaling:
            ray.shutdown()
            raise StoreError(
                "launcher ray: the sweep was planned for GPUs, and the cluster has none: add a machine that has one, "
                'set [compute] device = "cpu", or [launch.ray] autoscaling = true to wait for machines that are '
                "started on demand"
            )

    def room(self) -> int:
        import ray

        cores = ray.cluster_resources().get("GPU" if self.gpus else "CPU", 1.0)
        each = 1 if self.gpus else self.orders.compute.threads
        return max(0, AHEAD * max(1, int(cores // each)) - len(self.running))

    def start(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            settings = self.launcher.read(self.orders.options, job.stage)
            memory = self.orders.memory_bytes(job)
            task = self.task.options(
                name=f"astraios {job.label}",
                num_cpus=job.n_threads,
                num_gpus=job.n_devices if job.device != "cpu" else 0,
                memory=int(memory) if memory else None,
                resources=dict(settings.resources) or None,
                scheduling_strategy="SPREAD" if settings.placement == "spread" else "DEFAULT",
            )
            content = write_request(job, self.orders).read_text(encoding="utf-8")
            paths = self.orders.place.address, str(log_file(job, self.orders))
            self.running[task.remote(self.news, job.key, content, *paths, environment(job.n_threads))] = job.key

    def poll(self, seconds: float) -> list[Event]:
        import ray

        if not self.running:
            time.sleep(seconds)
            return []
        ended, _ = ray.wait(list(self.running), num_returns=1, timeout=seconds)
        events = self._told()
        for reference in ended:
            key = self.running.pop(reference)
            kind, reason = _fate(reference)
            events.append(Event(key, kind, self.asked.pop(key, reason)))
        return events

    def _told(self) -> list[Event]:
        """What tasks have said since the last time."""
        import ray

        if time.monotonic() - self.last_news < 1.0:
            return []
        self.last_news = time.monotonic()
        try:
            return [Event(*entry) for entry in ray.get(self.news.take.remote(), timeout=10)]
        except (ray.exceptions.RayError, TimeoutError):
            # News are a comfort; a cluster that lost them goes on with new ones.
            with contextlib.suppress(ray.exceptions.RayError):
                self.news = _news_actor()
            return []

    def stop(self, key: str, reason: str) -> None:
        import ray

        for reference, running in self.running.items():
            if running == key:
                self.asked[key] = reason
                ray.cancel(reference, force=True)

    def close(self) -> None:
        import ray

        for reference in self.running:
            with contextlib.suppress(Exception):
                ray.cancel(reference, force=True)
        ray.shutdown()


def _fate(reference: Any) -> tuple[str, str]:
    """Kind of event and reason of a task that has ended."""
    import ray
    from ray import exceptions

    lost = (
        exceptions.WorkerCrashedError,
        exceptions.NodeDiedError,
        exceptions.LocalRayletDiedError,
        exceptions.ObjectLostError,
        exceptions.RaySystemError,
        exceptions.TaskUnschedulableError,
    )
    try:
        _, reason = ray.get(reference)
        return "ended", str(reason)
    except exceptions.OutOfMemoryError:
        return "ended", "out of memory: its machine had none left; set [compute] memory_gb to what a cell needs"
    except lost as error:
        return "lost", f"lost with its machine ({type(error).__name__})"
    except (exceptions.TaskCancelledError, exceptions.RayTaskError) as error:
        return "ended", " ".join(str(error).split())[-300:]


def _news_actor() -> Any:
    """Collects what tasks say, on this process's own machine, so that it is not lost with another."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    class News:
        def __init__(self) -> None:
            self.entries: list[tuple[Any, ...]] = []

        def add(self, *entry: Any) -> None:
            self.entries.append(entry)

        def take(self) -> list[tuple[Any, ...]]:
            entries, self.entries = self.entries, []
            return entries

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0)(News).options(scheduling_strategy=here).remote()


def _task() -> Any:
    """The remote function; Ray's own retries are off, because the schedule counts what was lost."""
    import ray

    def work(news: Any, key: str, content: str, out: str, log: str, variables: dict[str, str]) -> tuple[int, str]:
        import sys
        import tempfile
        import time
        from pathlib import Path

        from astraios.collect.launch._process import run

        news.add.remote(key, "started")
        said = 0.0

        def hear(line: str) -> None:
            nonlocal said
            sys.stdout.write(f"{line}\n")  # Ray takes it from here
            progress = progress_of(line)
            if progress and time.monotonic() - said > 1.0:
                said = time.monotonic()
                news.add.remote(key, "progress", *progress)

        with tempfile.TemporaryDirectory(prefix="astraios-") as folder:
            file = Path(folder) / "cell.json"
            file.write_text(content, encoding="utf-8")
            return run(str(file), out, log, variables, hear)

    return ray.remote(max_retries=0)(work)


ray = RayLauncher(name="ray")
