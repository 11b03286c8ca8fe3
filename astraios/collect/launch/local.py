"""Cells on this machine: a process each, one at a time a device, or as many as the cores allow.

Processes come from a fork server that has imported torch and transformers once, so that starting one costs a few
milliseconds. A process ends when the command that started it does, however that ends.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from astraios.collect.launch import Event, Job, Launcher
from astraios.collect.sweep import ComputeSpec


@dataclass
class _Running:
    job: Job
    process: BaseProcess
    connection: Connection
    slot: int
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Local(Launcher):
    """A pool of processes on this machine."""

    def run(
        self, jobs: list[Job], sweep_json: str, out: Path, compute: ComputeSpec, tell: Callable[[Event], None]
    ) -> Mapping[str, str]:
        return _Pool(jobs, sweep_json, out, compute, tell).run()


class _Pool:
    def __init__(
        self, jobs: list[Job], sweep_json: str, out: Path, compute: ComputeSpec, tell: Callable[[Event], None]
    ) -> None:
        self.waiting, self.sweep_json, self.out, self.compute, self.tell = list(jobs), sweep_json, out, compute, tell
        self.tries = dict.fromkeys((job.key for job in jobs), compute.retries + 1)
        self.finished: set[str] = set()
        self.failed: dict[str, str] = {}
        self.running: list[_Running] = []
        self.keys = {job.key for job in jobs}
        together = max((job.cell.train.processes for job in jobs if job.cell), default=1)
        self.devices = _groups(_cuda_devices(compute.device), together)
        self.slots = list(
            range(compute.workers or len(self.devices) or max(1, _cores() // (compute.threads * together)))
        )
        self.context = multiprocessing.get_context("forkserver")
        self.context.set_forkserver_preload(["astraios.collect.launch._preload"])

    def run(self) -> dict[str, str]:
        try:
            while self.waiting or self.running:
                self._fail_orphans()
                while self.slots and (job := self._next()):
                    self._start(job)
                if self.running:
                    self._listen()
        finally:
            for running in self.running:
                running.process.kill()
        return self.failed

    def _next(self) -> Job | None:
        """The ready job on which most depends: its own weight and that of the heaviest job behind it."""
        ready = [job for job in self.waiting if job.after not in self.keys or job.after in self.finished]
        behind: dict[str, float] = {}
        for job in self.waiting:
            if job.after:
                behind[job.after] = max(behind.get(job.after, 0.0), job.weight)
        return max(ready, key=lambda job: job.weight + behind.get(job.key, 0.0), default=None)

    def _fail_orphans(self) -> None:
        for job in [job for job in self.waiting if job.after in self.failed]:
            self.waiting.remove(job)
            self._fail(job, self.failed[job.after or ""])

    def _start(self, job: Job) -> None:
        self.waiting.remove(job)
        ours, theirs = self.context.Pipe()
        slot = self.slots.pop(0)
        device = self.devices[slot % len(self.devices)] if self.devices else None
        process = self.context.Process(
            target=_work, args=(theirs, job, self.sweep_json, self.out, self.compute.device, device), daemon=True
        )
        self.tries[job.key] -= 1
        process.start()
        theirs.close()
        self.running.append(_Running(job, process, ours, slot))
        self.tell(Event(job.key, "started"))

    def _listen(self) -> None:
        by_connection: dict[Any, _Running] = {running.connection: running for running in self.running}
        for connection in wait(list(by_connection), timeout=1.0):
            running = by_connection[connection]
            try:
                kind, *content = running.connection.recv()
            except (EOFError, ConnectionError):
                running.process.join()
                code = running.process.exitcode
                how = f"was killed by signal {-code}" if code and code < 0 else f"ended with exit code {code}"
                hint = "; out of memory is the usual cause" if code == -9 else ""
                self._end(running, running.reason or f"its process {how}{hint}")
                continue
            if kind == "progress":
                self.tell(Event(running.job.key, "progress", *content))
            elif kind == "failed":
                running.reason = content[0]
            else:
                self._end(running, None)

    def _end(self, running: _Running, reason: str | None) -> None:
        self.running.remove(running)
        self.slots.append(running.slot)
        running.connection.close()
        running.process.join()
        if reason is None:
            self.finished.add(running.job.key)
            self.tell(Event(running.job.key, "done"))
        elif self.tries[running.job.key]:
            self.waiting.append(running.job)
        else:
            self._fail(running.job, reason)

    def _fail(self, job: Job, reason: str) -> None:
        self.failed[job.key] = reason
        self.tell(Event(job.key, "failed", reason))


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cuda_devices(device: str) -> list[str]:
    """Ids of the devices to share out; none where cells run on the CPU."""
    if device == "cpu":
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [one for one in visible.split(",") if one.strip()]
    # Asked of another process: once this one had touched CUDA, its children could not.
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return [str(i) for i in range(pool.apply(_count_cuda_devices))]


def _groups(devices: list[str], size: int) -> list[str]:
    """Devices in lots of those that train a cell together; fewer than a lot is given as it is."""
    lots = [",".join(devices[i : i + size]) for i in range(0, len(devices) - size + 1, size)]
    return lots or ([",".join(devices)] if devices else [])


def _count_cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _work(connection: Connection, job: Job, sweep_json: str, out: Path, device: str, cuda_device: str | None) -> None:
    """What a child does."""
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    if cuda_device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = cuda_device
    last = 0.0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2 or done == total:
            last = time.monotonic()
            connection.send(("progress", stage, done, total))

    from astraios.collect.cell import one_line, run_cell
    from astraios.collect.ladders import resolve

    try:
        if job.cell is None:
            import torch

            torch.set_num_threads(1)
            ladder, rung = resolve(job.model_id)
            ladder.prepare(rung.model_id, lambda done, total: report("pretraining", done, total))
        else:
            run_cell(job.cell, sweep_json, out, report, device)
    except Exception as error:
        connection.send(("failed", one_line(error)))
    else:
        connection.send(("done",))


def _end_with_parent(connection: Connection) -> None:
    """Ends this process when its parent is gone: nobody sends on this connection, it can only break."""
    try:
        connection.recv()
    except (EOFError, OSError):
        os._exit(1)


local = Local(name="local")
