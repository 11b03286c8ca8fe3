"""The scheduler's own cost: planning, starting, following and resuming a sweep of many cells, without the cells' work.

    python benchmarks/sweep.py [--cells 10000] [-o FILE]

Cells are real (StarCoderBase's and the tiny ladder's bases, seven tuning methods, as many seeds as needed), their run
directories are real too (300 losses, a task, Parquet, a manifest), but nobody trains: a pool ends each job at once, with
the run directory that it would have left. So what is measured is what astraios adds to a sweep, on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios import workflow
from astraios.collect.launch import Event, Launcher, Orders, Pool
from astraios.collect.launch.schedule import run_jobs
from astraios.collect.plan.job import Job
from astraios.collect.run import jobs_for
from astraios.records import LossPoint, Score, TaskResult
from astraios.runs.directory import RunDirectory
from astraios.runs.place import Place
from astraios.runs.rows import Ending

SWEEP = """
extends = "tiny"
name = "many"
models = ["tiny/66k", "tiny/116k", "tiny/178k", "tiny/428k", "tiny/866k"]
seeds = [{seeds}]
tasks = ["next-token"]
"""


class Instantly(Pool):
    """Ends each job at once; `write` says what it leaves."""

    def __init__(self, write: Callable[[Job], None]) -> None:
        self.write, self.started = write, []
        self.writing = (0.0, 0.0)

    def room(self) -> int:
        return 64 - len(self.started)

    def start(self, jobs: Any) -> None:
        self.started += jobs

    def poll(self, seconds: float) -> list[Event]:
        jobs, self.started = self.started, []
        (wall, busy), _ = timed(lambda: [self.write(job) for job in jobs])
        self.writing = self.writing[0] + wall, self.writing[1] + busy
        return [event for job in jobs for event in (Event(job.key, "started"), Event(job.key, "ended"))]

    def close(self) -> None:
        pass


@dataclass(frozen=True, kw_only=True)
class Nowhere(Launcher):
    pool: Instantly

    def open(self, jobs: Any, orders: Orders) -> Pool:
        return self.pool


def leave(job: Job, out: Path) -> None:
    """A finished run directory, as a cell of 200 steps leaves it."""
    assert job.plan is not None
    cell = job.plan.cell
    directory = RunDirectory(out / cell.run_id)
    attempt, started = directory.start(cell.to_json())
    points = [LossPoint("test", step, step * 512, 4.0 - step / 300) for step in range(0, 201, 10)]
    points += [LossPoint("batch", step, step * 512, 4.0 - step / 310) for step in range(2, 201, 2)]
    with open(directory.path / "losses.jsonl", "w") as file:
        file.writelines(
            json.dumps(dict(zip(LossPoint.__slots__, (p.split, p.step, p.n_tokens, p.loss_nats, None), strict=True)))
            + "\n"
            for p in points
        )
    score = Score("next-token", "accuracy", 0.4, 0.01, 0.38, 0.42, 1000)
    result = TaskResult(scores=(score,), samples=(), n_items=1000, isolation=None, settings={})
    ending = Ending(attempt=attempt, started_at=started, state="done", finished_at=started, device_seconds=1.0)
    directory.finish(job.plan.rows('{"name": "many"}'), ending, {"next-token": (result, 1.0)})


def cpu() -> float:
    """Processor seconds of this process and of those that it has waited for."""
    mine, theirs = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return mine.ru_utime + mine.ru_stime + theirs.ru_utime + theirs.ru_stime


Seconds = tuple[float, float]
"""By the clock, and of the processor."""


def timed(function: Callable[[], Any]) -> tuple[Seconds, Any]:
    start, before = time.perf_counter(), cpu()
    found = function()
    return (time.perf_counter() - start, cpu() - before), found


def command(*arguments: object) -> Seconds:
    """Of the whole command, interpreter and imports among them."""
    words = [sys.executable, "-m", "astraios.cli", *map(str, arguments)]
    seconds, _ = timed(lambda: subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True))
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("-o", type=Path)
    options = parser.parse_args()
    n_seeds = -(-options.cells // 35)
    folder = Path(tempfile.mkdtemp(prefix="astraios-sweep-"))
    try:
        lines = measure(folder, n_seeds)
    finally:
        shutil.rmtree(folder)
    text = "\n".join(lines)
    print(text)
    if options.o:
        options.o.write_text(text + "\n")


def measure(folder: Path, n_seeds: int) -> list[str]:
    file, out, db = folder / "many.toml", folder / "runs", folder / "many.duckdb"
    file.write_text(SWEEP.format(seeds=", ".join(map(str, range(n_seeds)))))
    n, half = 35 * n_seeds, 35 * n_seeds // 2
    rows: list[tuple[str, int, Seconds]] = []

    def note(what: str, count: int, seconds: Seconds) -> None:
        rows.append((what, count, seconds))

    os.environ["ASTRAIOS_CACHE"] = str(folder / "cache")
    note("plan, the first time: counts 35 bases and methods", n, command("collect", file, "--dry-run", "--json"))
    note("plan: collect --dry-run --json", n, command("collect", file, "--dry-run", "--json"))
    _, (sweep, plans) = timed(lambda: workflow.plan(str(file), []))
    note("status, nothing done", n, command("status", file, "--out", out, "--json"))
    seconds, jobs = timed(lambda: jobs_for(plans, out))
    note("resume: what is left to do, nothing done", n, seconds)
    cells = [job for job in jobs if job.plan]

    pool = Instantly(lambda job: leave(job, out))
    orders = Orders(sweep.to_json(), Place(out), sweep.compute, {})
    out.mkdir()
    seconds, ends = timed(
        lambda: run_jobs(Nowhere(name="nowhere", pool=pool), cells[:half], orders, lambda event: None)
    )
    assert not ends.failed
    own = seconds[0] - pool.writing[0], seconds[1] - pool.writing[1]
    note("schedule: start, check and settle", half, own)
    note("write run directories", half, pool.writing)
    note("status, half done", n, command("status", file, "--out", out, "--json"))
    note("resume: what is left to do, half done", n, timed(lambda: jobs_for(plans, out))[0])
    note("ingest", half, command("ingest", "--out", out, "--db", db))
    note("ingest, nothing new", half, command("ingest", "--out", out, "--db", db))
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / half
    lines = [f"{n:,} cells on {os.cpu_count()} cores; {half:,} run directories of {size:,.0f} bytes", ""]
    lines += ["| what | cells | seconds | CPU seconds | CPU ms a cell |", "| --- | ---: | ---: | ---: | ---: |"]
    for what, count, (wall, busy) in rows:
        lines.append(f"| {what} | {count:,} | {wall:.2f} | {busy:.2f} | {1000 * busy / count:.3f} |")
    return lines


if __name__ == "__main__":
    main()
