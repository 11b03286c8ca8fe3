"""What is started when, what is tried again, and what is done: decided here, by the run directories alone.

Launchers start processes and say when they have ended; whether a cell is done is in its manifest. A cell that fails is
tried again as often as the sweep says. One that was lost with its machine goes on elsewhere from its checkpoint, under
the same number of attempt; that is no failure of its own.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from astraios.collect.launch import Event, Launcher, Orders, Pool
from astraios.collect.plan.job import Job
from astraios.errors import AstraiosError
from astraios.files import exclusive
from astraios.runs.directory import RunDirectory, utc_now
from astraios.runs.rows import Ending

MAX_LOST = 20
"""How often a job may be lost with its machine before it counts as failed."""
GRACE_S = 60.0
"""What a process that is over its time limit is given to record that itself, before it is ended from outside."""
POLL_S = 1.0


HOPELESS = "stopped as hopeless: "
"""Beginning of the reason of a cell that was ended early."""

Judge = Callable[[Sequence[str]], Mapping[str, str]]
"""Given run_ids that are being trained: reasons of those that are hopeless."""


def run_jobs(
    launcher: Launcher,
    jobs: list[Job],
    orders: Orders,
    tell: Callable[[Event], None],
    judge: Judge | None = None,
    judge_every: float = 20.0,
) -> Ends:
    """Runs all jobs, those they depend on first.

    Args:
        launcher: where.
        jobs: what is to be done.
        orders: what the launcher passes on.
        tell: called with each event, in the calling process.
        judge: asked every `judge_every` seconds which cells are to be ended early.
        judge_every: seconds.
    """
    pool = launcher.open(jobs, orders)
    try:
        schedule = _Schedule(jobs, orders, pool, tell)
        schedule.judge, schedule.judge_every = judge, judge_every
        return schedule.run()
    finally:
        pool.close()


@dataclass(frozen=True)
class Ends:
    """Reasons by key of the job; those that are in neither were done."""

    failed: Mapping[str, str]
    stopped: Mapping[str, str]
    """Ended early as hopeless."""


class _Schedule:
    judge: Judge | None = None
    judge_every: float = 20.0
    last_judged: float = 0.0

    def __init__(self, jobs: list[Job], orders: Orders, pool: Pool, tell: Callable[[Event], None]) -> None:
        self.orders, self.pool, self.tell = orders, pool, tell
        self.jobs = {job.key: job for job in jobs}
        self.tries = dict.fromkeys(self.jobs, orders.compute.retries + 1)
        self.lost = dict.fromkeys(self.jobs, 0)
        self.failed: dict[str, str] = {}
        self.stopped: dict[str, str] = {}
        self.hopeless: dict[str, str] = {}
        """Reasons of jobs that the pool has been asked to end early."""
        self.running: dict[str, float] = {}
        """When each job that has been handed to the pool began to run; infinity while it waits there."""
        self.failures: dict[str, int] = {}
        self.followers: dict[str, list[str]] = {}
        self.ready: list[tuple[float, int, str]] = []
        self.order = {key: number for number, key in enumerate(self.jobs)}
        for job in jobs:
            if job.after in self.jobs:
                self.followers.setdefault(str(job.after), []).append(job.key)
        self.behind: dict[str, float] = {}
        for job in reversed(jobs):
            self._push_weight(job.key)
        adopted = set(pool.adopted())
        for job in jobs:
            if job.key in adopted:
                self._hand_over(job)
            elif job.after not in self.jobs:
                self._make_ready(job)

    def _push_weight(self, key: str) -> None:
        self.behind[key] = max(
            (self.jobs[k].weight + self.behind.get(k, 0.0) for k in self.followers.get(key, ())), default=0.0
        )

    def _make_ready(self, job: Job) -> None:
        """The job on which most depends comes first: its own weight and that of the heaviest chain behind it."""
        heapq.heappush(self.ready, (-(job.weight + self.behind[job.key]), self.order[job.key], job.key))

    def run(self) -> Ends:
        while self.ready or self.running:
            self._start()
            if self.running or self.ready:
                for event in self.pool.poll(POLL_S):
                    self._take(event)
                self._stop_overdue()
                self._stop_hopeless()
        return Ends(self.failed, self.stopped)

    def _start(self) -> None:
        batch: list[Job] = []
        room = self.pool.room() if self.ready else 0
        while self.ready and len(batch) < room:
            job = self.jobs[heapq.heappop(self.ready)[2]]
            if job.plan and job.plan.problem:
                self._fail(job, self._record(job, job.plan.problem))
                continue
            self._hand_over(job)
            batch.append(job)
        if batch:
            self.pool.start(batch)

    def _hand_over(self, job: Job) -> None:
        self.running[job.key] = float("inf")
        self.failures[job.key] = self._n_failures(job)

    def _take(self, event: Event) -> None:
        if event.key not in self.running:
            return
        if event.kind == "started":
            self.running[event.key] = time.monotonic()
            self.tell(event)
        elif event.kind == "progress":
            self.tell(event)
        elif event.kind in ("ended", "lost"):
            del self.running[event.key]
            self._settle(self.jobs[event.key], event)

    def _settle(self, job: Job, event: Event) -> None:
        reason = self._reason(job, event)
        if reason is None:
            self.tell(Event(job.key, "done"))
            for key in self.followers.get(job.key, ()):
                self._make_ready(self.jobs[key])
            return
        if event.kind == "lost":
            self.lost[job.key] += 1
            if self.lost[job.key] <= MAX_LOST:
                self._again(job, reason)
                return
            reason = f"lost {self.lost[job.key]} times with its machine; the last time: {reason}"
        if job.key in self.hopeless:
            self._give_up(job, self._record(job, self.hopeless[job.key]))
            return
        reason = self._record(job, reason)
        self.tries[job.key] -= 1
        if self.tries[job.key] > 0:
            self._again(job, reason)
        else:
            self._fail(job, reason)

    def _again(self, job: Job, reason: str) -> None:
        self.tell(Event(job.key, "retried", reason))
        self._make_ready(job)

    def _fail(self, job: Job, reason: str) -> None:
        """Gives a job up, and those that wait for it."""
        self.failed[job.key] = reason
        self.tell(Event(job.key, "failed", reason))
        for key in self.followers.get(job.key, ()):
            follower = self.jobs[key]
            told = reason if job.stage == "train" else f"{job.label}: {reason}"
            self._fail(follower, told if job.stage == "train" else self._record(follower, told))

    def _give_up(self, job: Job, reason: str) -> None:
        self.stopped[job.key] = reason
        self.tell(Event(job.key, "stopped", reason))
        for key in self.followers.get(job.key, ()):
            self._give_up(self.jobs[key], reason)

    def _stop_hopeless(self) -> None:
        if self.judge is None or time.monotonic() - self.last_judged < self.judge_every:
            return
        self.last_judged = time.monotonic()
        training = {
            plan.cell.run_id: key
            for key in self.running
            if (plan := self.jobs[key].plan) and self.jobs[key].stage != "evaluate" and key not in self.hopeless
        }
        for run_id, reason in self.judge(list(training)).items():
            self.hopeless[training[run_id]] = f"{HOPELESS}{reason}"
            self.pool.stop(training[run_id], f"{HOPELESS}{reason}")

    def _stop_overdue(self) -> None:
        limit = self.orders.compute.time_limit_minutes
        if limit is None:
            return
        for key, since in self.running.items():
            if self.jobs[key].plan and time.monotonic() - since > limit * 60 + GRACE_S:
                self.pool.stop(key, f"time limit of {limit:g} minutes reached, and its process did not end by itself")

    def _directory(self, job: Job) -> RunDirectory | None:
        return RunDirectory(self.orders.place.path / job.plan.cell.run_id) if job.plan else None

    def _n_failures(self, job: Job) -> int:
        directory = self._directory(job)
        return sum(a["state"] == "failed" for a in directory.attempts()) if directory else 0

    def _reason(self, job: Job, event: Event) -> str | None:
        """Why a job that has ended is not done, or None where it is: by its run directory, whatever else is said."""
        directory = self._directory(job)
        if directory is None or job.plan is None:
            return event.stage or None
        place, run_id = self.orders.place, job.plan.cell.run_id
        place.fetch(run_id)
        problem = directory.set_garbage_aside()
        if problem is not None:
            place.push(run_id)
            return f"it wrote garbage: {problem}"
        if job.stage == "train" and directory.is_trained():
            return None
        if directory.is_done(job.plan.cell.asked):
            return None
        attempts = directory.attempts()
        if sum(a["state"] == "failed" for a in attempts) > self.failures[job.key]:
            return str(attempts[-1].get("error"))
        return event.stage or "its process said that it was done, and left no manifest"

    def _record(self, job: Job, reason: str) -> str:
        """Sees to it that the reason stands in the run directory, where the process did not live to write it."""
        directory = self._directory(job)
        if directory is None or job.plan is None or self._n_failures(job) > self.failures.get(job.key, -1) >= 0:
            return reason
        try:
            with exclusive(directory.path / "lock", wait=5.0, what=f"run {job.plan.cell.run_id}"):
                attempt, started = directory.start(job.plan.cell.to_json())
                ending = Ending(
                    attempt=attempt, started_at=started, state="failed", error=reason, finished_at=utc_now()
                )
                directory.fail(job.plan.rows(self.orders.sweep_json), ending)
            self.orders.place.push(job.plan.cell.run_id)
        except AstraiosError as error:
            return f"{reason} (not recorded: {error})"
        return reason
