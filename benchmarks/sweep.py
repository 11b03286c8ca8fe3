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
from astraios.collect.launch import Event, Job, Launcher, Orders, Pool
from astraios.collect.plan import Plan
from astraios.collect.run import jobs_for
from astraios.collect.schedule import run_jobs
from astraios.collect.spool import RunDirectory
from astraios.collect.storage import Place
from astraios.records import LossPoint, Score, TaskResult

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
        self.writing = 0.0

    def room(self) -> int:
        return 64 - len(self.started)

    def start(self, jobs: Any) -> None:
        self.started += jobs

    def poll(self, seconds: float) -> list[Event]:
        jobs, self.started = self.started, []
        start = time.perf_counter()
        for job in jobs:
            self.write(job)
        self.writing += time.perf_counter() - start
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
    ending = {"attempt": attempt, "started_at": started, "state": "done", "finished_at": started, "device_seconds": 1.0}
    rows = {"sweep_json": '{"name": "many"}', **job.plan.rows()}
    directory.finish(rows, ending, {"next-token": (result, 1.0)})


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = function()
    return time.perf_counter() - start, found


def command(*arguments: object, **environment: str) -> float:
    """Seconds of the whole command, interpreter and imports among them."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "astraios.cli", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


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
    n = 35 * n_seeds
    rows: list[tuple[str, float]] = []
    rows.append(("plan, the first time (counts 35 models)", command("collect", file, "--dry-run", "--json")))
    rows.append(("plan: collect --dry-run --json", command("collect", file, "--dry-run", "--json")))
    _, (sweep, plans) = timed(lambda: workflow.plan(str(file), []))
    rows.append(("status, nothing done", command("status", file, "--out", out, "--json")))
    seconds, jobs = timed(lambda: jobs_for(plans, out))
    jobs = [job for job in jobs if job.plan]
    rows.append(("what is left to do, nothing done", seconds))

    half: list[Job] = jobs[: len(jobs) // 2]
    pool = Instantly(lambda job: leave(job, out))
    orders = Orders(sweep.to_json(), Place(out), sweep.compute, {})
    out.mkdir()
    seconds, ends = timed(lambda: run_jobs(Nowhere(name="nowhere", pool=pool), half, orders, lambda event: None))
    assert not ends.failed
    own = seconds - pool.writing
    rows.append((f"schedule {len(half):,} cells (their run directories apart)", own))
    rows.append((f"write {len(half):,} run directories", pool.writing))
    rows.append((f"ingest {len(half):,} of them", command("ingest", "--out", out, "--db", db)))
    rows.append(("status, half done", command("status", file, "--out", out, "--json")))
    rows.append(("ingest, nothing new", command("ingest", "--out", out, "--db", db)))
    rows.append(("resume: what is left to do, half done", timed(lambda: jobs_for(plans, out))[0]))
    size = sum(f.stat().st_size for f in out.rglob("*") if f.is_file()) / max(1, len(half))
    lines = [f"{n:,} cells, {os.cpu_count()} cores", "", "| what | seconds | ms a cell |", "| --- | ---: | ---: |"]
    for what, seconds in rows:
        count = len(half) if "half" in what or f"{len(half):,}" in what or "nothing new" in what else n
        lines.append(f"| {what} | {seconds:.2f} | {1000 * seconds / count:.3f} |")
    return [
        *lines,
        "",
        f"bytes in a run directory: {size:,.0f}; jobs planned: {len(jobs):,}; plans: {len(plans):,} {Plan.__name__}s",
    ]


if __name__ == "__main__":
    main()
