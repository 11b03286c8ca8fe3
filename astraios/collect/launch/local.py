"""Cells on this machine: a process each, one at a time a device, or as many as the cores allow.

On CPUs processes come from a fork server that has imported torch and transformers once, so that starting one costs a
few milliseconds. Where there are GPUs each is started afresh: bitsandbytes asks for the GPU when it is imported, and a
fork of a process that has asked can't use one. A process ends when the command that started it does, however that ends.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import shutil
import subprocess
import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from astraios.collect.cell.process import Request, perform
from astraios.collect.launch import Event, Launcher, Orders, Pool
from astraios.collect.launch._process import how_it_ended
from astraios.collect.plan.job import Job


@dataclass
class _Running:
    key: str
    process: BaseProcess
    connection: Connection
    devices: list[str]
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Local(Launcher):
    """A pool of processes on this machine."""

    def device(self) -> str:
        return "cuda" if shutil.which("nvidia-smi") and _gpu_memory() else "cpu"

    def device_memory(self, device: str) -> float | None:
        if device.startswith("cuda"):
            return min(_gpu_memory(), default=None)
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))

    def open(self, jobs: Sequence[Job], orders: Orders) -> Pool:
        return _Processes(jobs, orders)


def _gpu_memory() -> list[float]:
    """Bytes of each GPU here, without torch; none where its driver can't be asked."""
    command = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
        return [float(line) * 2**20 for line in said.splitlines() if line.strip()]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []


class _Processes(Pool):
    def __init__(self, jobs: Sequence[Job], orders: Orders) -> None:
        self.orders, compute = orders, orders.compute
        self.running: dict[str, _Running] = {}
        self.news: list[Event] = []
        self.devices = _cuda_devices(compute.device)
        together = max((job.n_devices for job in jobs), default=1)
        self.most = compute.workers or len(self.devices) or max(1, _cores() // (compute.threads * together))
        self.waiting: deque[Job] = deque()
        """Handed over, until as many devices are free as the first of them wants."""
        self.context: Any = multiprocessing.get_context("spawn" if self.devices else "forkserver")
        if not self.devices:
            self.context.set_forkserver_preload(["astraios.collect.launch._preload"])

    def room(self) -> int:
        return 0 if self.waiting else max(0, self.most - len(self.running))

    def start(self, jobs: Sequence[Job]) -> None:
        self.waiting.extend(jobs)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Starts what there is room for, in order: a cell that wants many devices is not overtaken for ever."""
        while self.waiting and len(self.running) < self.most:
            devices = self._free_devices(self.waiting[0].n_devices)
            if devices is None:
                return
            self._start(self.waiting.popleft(), devices)

    def _free_devices(self, wanted: int) -> list[str] | None:
        """As many devices, those with the fewest cells; None while they are not free. A cell that wants more than there
        are is given all, and says so itself."""
        if not self.devices:
            return []
        load = Counter(device for running in self.running.values() for device in running.devices)
        each = math.ceil(self.most / len(self.devices))
        free = sorted((device for device in self.devices if load[device] < each), key=lambda device: load[device])
        wanted = min(wanted, len(self.devices))
        return free[:wanted] if len(free) >= wanted else None

    def _start(self, job: Job, devices: list[str]) -> None:
        request = Request.of(job, self.orders.sweep_json, self.orders.compute)
        ours, theirs = self.context.Pipe()
        visible = ",".join(devices) if devices else None
        process = self.context.Process(
            target=_work, args=(theirs, request, self.orders.place.address, visible), daemon=True
        )
        process.start()
        theirs.close()
        self.running[job.key] = _Running(job.key, process, ours, devices)
        self.news.append(Event(job.key, "started"))

    def poll(self, seconds: float) -> list[Event]:
        news, self.news = self.news, []
        by_connection: dict[Any, _Running] = {running.connection: running for running in self.running.values()}
        for connection in wait(list(by_connection), timeout=0 if news else seconds):
            running = by_connection[connection]
            try:
                kind, *content = running.connection.recv()
            except (EOFError, ConnectionError):
                running.process.join()
                news.append(self._end(running, running.reason or how_it_ended(running.process.exitcode)))
                continue
            if kind == "progress":
                news.append(Event(running.key, "progress", *content))
            elif kind == "failed":
                running.reason = content[0]
            else:
                news.append(self._end(running, ""))
        return news

    def _end(self, running: _Running, reason: str) -> Event:
        del self.running[running.key]
        running.connection.close()
        running.process.join()
        self._start_waiting()
        return Event(running.key, "ended", reason)

    def stop(self, key: str, reason: str) -> None:
        if key in self.running:
            self.running[key].reason = reason
            self.running[key].process.kill()

    def close(self) -> None:
        for running in self.running.values():
            running.process.kill()


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


def _count_cuda_devices() -> int:
    import torch

    return torch.cuda.device_count()


def _work(connection: Connection, request: Request, out: str, cuda_device: str | None) -> None:
    """What a child does."""
    threading.Thread(target=_end_with_parent, args=(connection,), daemon=True).start()
    if cuda_device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = cuda_device
    last = 0.0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last > 0.2 or done == total:
            last = time.monotonic()
            try:
                connection.send(("progress", stage, done, total))
            except ConnectionError:
                # The parent is gone, and the thread that watches for it was slower: no failure of the cell.
                os._exit(1)

    from astraios.errors import one_line

    try:
        perform(request, out, report)
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
