"""Cells on a SLURM cluster, through submitit: arrays of jobs, each of which starts a cell's process.

A job that is pre-empted, that runs into the end of its allocation or whose node dies is queued again by SLURM under the
same id and goes on from its checkpoint. Accounting is not needed: squeue says which jobs are still there, the run
directories say what became of the others. Jobs outlive the command that submitted them (unless it is stopped with
Ctrl-C, which cancels them): started again, it finds those that are still queued or running.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import math
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from astraios.collect.launch import Event, Launcher, Orders, Pool
from astraios.collect.launch._process import environment, file_name, last_words, log_file, write_request
from astraios.collect.plan.job import Job
from astraios.errors import MissingExtraError, StoreError
from astraios.settings import setting
from astraios.train.memory import GB

QUEUED = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SUSPENDED", "RESIZING", "SPECIAL_EXIT")
ACTIVE = ("RUNNING", "COMPLETING", "STAGE_OUT", "SIGNALING", "STOPPED")
LOST = ("NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "REVOKED")
REASONS = {
    "OUT_OF_MEMORY": "out of memory: SLURM ended it; ask for more with [compute] memory_gb",
    "TIMEOUT": "SLURM ended it at its time limit: raise [launch.slurm] minutes",
    "DEADLINE": "SLURM ended it at its deadline",
    "CANCELLED": "cancelled in SLURM",
}
UNSEEN_S = 20.0
"""How long a job may be missing from the queue before it counts as ended: it may just have been submitted."""


@dataclass(frozen=True)
class Settings:
    """[launch.slurm]; what is not said is left to the cluster's defaults."""

    cluster: str = setting("slurm", choices=("slurm", "local"))
    """slurm, or local: submitit's own executor, processes on this machine."""
    partition: str | None = None
    constraint: str | None = None
    account: str | None = None
    qos: str | None = None
    exclude: str | None = None
    nodelist: str | None = None
    minutes: int = setting(1440, minimum=1, unit="minutes")
    """Length of an allocation; a cell that needs longer is queued again and goes on."""
    signal_seconds: int = setting(90, minimum=0, unit="seconds")
    """How long before the end of an allocation a cell is stopped, to be queued again."""
    requeues: int = setting(100, minimum=0)
    """How often a cell may run into the end of its allocation."""
    parallel: int = setting(256, minimum=1)
    """Jobs of an array that run at a time."""
    submitted: int = setting(1000, minimum=1)
    """Jobs in the queue at a time, and most in an array."""
    poll_seconds: float = setting(5.0, minimum=0, unit="seconds")
    """Pause between two looks at the queue."""
    cpus_per_gpu: int = setting(4, minimum=1)
    """Cores that a job asks for with each GPU, where its threads are fewer: programs are judged and data packed on
    them."""
    srun: bool = True
    """Whether the process is started by srun inside the allocation."""
    setup: str | None = None
    """A line of shell to run first, such as "module load cuda"."""
    sbatch: Mapping[str, Any] = field(default_factory=dict)
    """Further options of sbatch."""


@dataclass(frozen=True, kw_only=True)
class Slurm(Launcher):
    """Jobs of a SLURM cluster."""

    settings: ClassVar[type] = Settings

    def open(self, jobs: Sequence[Job], orders: Orders) -> Pool:
        try:
            import submitit  # noqa: F401
        except ImportError:
            raise MissingExtraError("submitit", "slurm", "the launcher slurm") from None
        return _Queue(self, jobs, orders)


class CellProcess:
    """What a job does; submitit pickles it, and asks it for a checkpoint before the job is queued again."""

    def __init__(self, file: str, out: str, log: str, variables: dict[str, str]) -> None:
        self.arguments = file, out, log, variables

    def __call__(self) -> None:
        from astraios.collect.launch._process import run

        # How it ended stands in the run directory and in the log; a job of SLURM's fails only where SLURM does.
        run(*self.arguments)

    def checkpoint(self) -> Any:
        """The same again; the process ends with this one, and its run directory says how far it got."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(CellProcess(*self.arguments))


class _Queue(Pool):
    def __init__(self, launcher: Slurm, jobs: Sequence[Job], orders: Orders) -> None:
        self.launcher, self.orders = launcher, orders
        self.settings: Settings = launcher.read(orders.options)
        self.running: dict[str, str] = {}
        """SLURM's id of each job."""
        self.since: dict[str, float] = {}
        self.active: set[str] = set()
        self.asked: dict[str, str] = {}
        self.local: dict[str, Any] = {}
        """submitit's own jobs, where they are processes of this machine."""
        self.last_look = float("-inf")
        self.journal = orders.folder / "slurm.jsonl"
        self._adopt({job.key for job in jobs})

    def _adopt(self, keys: set[str]) -> None:
        """Finds jobs of an earlier command that are still in the queue."""
        if self.settings.cluster != "slurm" or not self.journal.is_file():
            return
        latest: dict[str, str] = {}
        for line in self.journal.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, KeyError):
                entry = json.loads(line)
                latest[entry["key"]] = entry["id"]
        states = _squeue()
        for key, slurm_id in latest.items():
            if key in keys and states.get(slurm_id) in (*QUEUED, *ACTIVE):
                self._watch(key, slurm_id)

    def adopted(self) -> list[str]:
        return list(self.running)

    def room(self) -> int:
        return max(0, self.settings.submitted - len(self.running))

    def start(self, jobs: Sequence[Job]) -> None:
        alike: dict[tuple[Any, ...], list[Job]] = {}
        for job in jobs:
            alike.setdefault((job.stage, job.n_threads, job.n_devices), []).append(job)
        for lot in alike.values():
            self._submit(lot)

    def _submit(self, jobs: list[Job]) -> None:
        """One array for jobs that ask for the same."""
        executor = self._executor(jobs[0])
        calls = [
            CellProcess(
                str(write_request(job, self.orders)),
                self.orders.place.address,
                str(log_file(job, self.orders)),
                environment(job.n_threads),
            )
            for job in jobs
        ]
        try:
            with executor.batch():
                submitted = [executor.submit(call) for call in calls]
        except Exception as error:
            raise StoreError(f"launcher slurm: sbatch refused the jobs ({_last_line(error)})") from None
        with open(self.journal, "a", encoding="utf-8") as file:
            for job, handle in zip(jobs, submitted, strict=True):
                file.write(json.dumps({"key": job.key, "id": handle.job_id}) + "\n")
                self._watch(job.key, handle.job_id)
                if self.settings.cluster != "slurm":
                    self.local[job.key] = handle

    def _watch(self, key: str, slurm_id: str) -> None:
        self.running[key], self.since[key] = slurm_id, time.monotonic()

    def _executor(self, job: Job) -> Any:
        import submitit

        settings: Settings = self.launcher.read(self.orders.options, job.stage)
        folder = self.orders.folder / "slurm"
        folder.mkdir(parents=True, exist_ok=True)
        executor = submitit.AutoExecutor(
            folder / "%j", cluster=settings.cluster, slurm_max_num_timeout=settings.requeues
        )
        gpu = job.device != "cpu"
        cpus = max(job.n_threads, settings.cpus_per_gpu * job.n_devices) if gpu else job.n_threads
        memory = self.orders.memory_bytes(job)
        asked = {
            "name": "astraios",
            "timeout_min": settings.minutes,
            "cpus_per_task": cpus,
            "gpus_per_node": job.n_devices if gpu else None,
            "mem_gb": math.ceil(memory / GB) if memory else None,
            "slurm_partition": settings.partition,
            "slurm_constraint": settings.constraint,
            "slurm_account": settings.account,
            "slurm_qos": settings.qos,
            "slurm_exclude": settings.exclude,
            "slurm_nodelist": settings.nodelist,
            "slurm_array_parallelism": settings.parallel,
            "slurm_signal_delay_s": settings.signal_seconds,
            "slurm_use_srun": settings.srun,
            "slurm_setup": [settings.setup] if settings.setup else None,
            "slurm_additional_parameters": {"requeue": True, **settings.sbatch},
        }
        executor.update_parameters(**{key: value for key, value in asked.items() if value is not None})
        return executor

    def poll(self, seconds: float) -> list[Event]:
        pause = self.settings.poll_seconds if self.settings.cluster == "slurm" else min(0.2, seconds)
        until = min(time.monotonic() + seconds, self.last_look + pause)
        time.sleep(max(0.0, until - time.monotonic()))
        if time.monotonic() < self.last_look + pause or not self.running:
            return []
        self.last_look = time.monotonic()
        if self.settings.cluster == "slurm":
            states = _squeue()
        else:
            states = {self.running[key]: _local_state(handle) for key, handle in self.local.items()}
        return [event for key in list(self.running) for event in self._news(key, states.get(self.running[key]))]

    def _news(self, key: str, state: str | None) -> list[Event]:
        if state in QUEUED:
            self.active.discard(key)
            return []
        if state in ACTIVE:
            new = key not in self.active
            self.active.add(key)
            return [Event(key, "started")] if new else []
        if state is None and time.monotonic() - self.since[key] < UNSEEN_S:
            return []
        del self.running[key]
        self.active.discard(key)
        self.local.pop(key, None)
        said = last_words(self.orders.folder / "logs" / f"{file_name(key)}.log")
        reason = self.asked.pop(key, "") or REASONS.get(state or "", "") or said or f"SLURM says {state or 'nothing'}"
        lost = state in LOST or (state in (None, "COMPLETED") and said is None)
        return [Event(key, "lost" if lost else "ended", "" if said == "" else reason)]

    def stop(self, key: str, reason: str) -> None:
        self.asked[key] = reason
        self._cancel([key])

    def close(self) -> None:
        self._cancel(list(self.running))

    def _cancel(self, keys: Sequence[str]) -> None:
        for key in keys:
            if key in self.local:
                self.local[key].cancel()
        ids = [self.running[key] for key in keys if key not in self.local]
        for start in range(0, len(ids), 500):
            with contextlib.suppress(OSError):
                subprocess.run(["scancel", *ids[start : start + 500]], capture_output=True, check=False)


def _squeue() -> dict[str, str]:
    """State of each of the user's jobs that the cluster still knows, those that ended lately among them.

    Raises:
        StoreError: squeue can't be asked, after several tries.
    """
    command = ["squeue", "--noheader", "--array", "--states=all", "--format=%i|%T", "--user", getpass.getuser()]
    error = ""
    for pause in (1.0, 4.0, 15.0, 60.0):
        try:
            result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except FileNotFoundError:
            raise StoreError("launcher slurm: no squeue here; run it where jobs are submitted") from None
        except subprocess.TimeoutExpired:
            continue
        if result.returncode == 0:
            return dict(line.split("|", 1) for line in result.stdout.splitlines() if "|" in line)
        error = result.stderr.strip()
        time.sleep(pause)
    raise StoreError(f"launcher slurm: squeue does not answer ({error[:200]}); the same command goes on from here")


def _local_state(handle: Any) -> str:
    state = str(handle.state)
    return "RUNNING" if state == "RUNNING" else "PREEMPTED" if state == "INTERRUPTED" else "COMPLETED"


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return " ".join(lines[-1].split())[:300] if lines else type(error).__name__


slurm = Slurm(name="slurm")
