"""Processes that write, ingest and query at once, killed at random: `python -m tests.store.chaos DIR DB KILLS N PAUSE`.

Children are forked from this process, which has imported everything and started no thread, so that a killed one is
replaced at once. At the end one line of JSON says what was seen.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import duckdb  # noqa: F401 (before the forks)
import polars  # noqa: F401
import pyarrow.parquet  # noqa: F401

from astraios import store
from astraios.errors import StoreError
from astraios.runs.directory import read_manifest
from tests.store.made import make_run

N_WRITERS = 8
N_POINTS = 20


def write(folder: Path, number: int) -> None:
    """One run directory after the other, each gone on with where a killed predecessor was."""
    n = 0
    while not (folder / "stop").exists():
        name = f"w{number}-{n:04d}"
        if read_manifest(folder / "runs" / name) is None:
            make_run(folder / "runs", name, losses=N_POINTS, seed=n)
            time.sleep(0.2)
        n += 1


def ingest(folder: Path, db: Path) -> None:
    """Ingests, and writes down what it was told is safe."""
    while True:
        try:
            report = store.ingest(db, folder / "runs")
        except StoreError as error:
            # On a busy machine its turn may not come in time; then it says so, and is asked again.
            if "held by another process" not in str(error):
                raise
            continue
        if report.skipped:
            raise AssertionError(f"refused: {dict(report.skipped)}")
        with open(folder / "acknowledged", "a") as file:
            file.write(f"{report.n_new + report.n_known}\n")
        time.sleep(0.01)


def ask(folder: Path, db: Path) -> None:
    """Every reading must succeed, hold all that was acknowledged before it, and no half of a run."""
    while True:
        acknowledged = max(_numbers(folder / "acknowledged"), default=0)
        if acknowledged:
            with store.reading(db) as connection:
                n_runs = connection.sql("select count(*) from run").fetchall()[0][0]
                torn = connection.sql(
                    "select run_id, count(*), count(distinct step) from run left join loss_point using (run_id) "
                    f"group by run_id having count(step) <> {N_POINTS} or count(distinct step) <> {N_POINTS}"
                ).fetchall()
            if torn or n_runs < acknowledged:
                raise AssertionError(f"{n_runs} of {acknowledged} acknowledged runs; torn: {torn}")
            with open(folder / "readings", "a") as file:
                file.write(f"{n_runs}\n")
        time.sleep(0.01)


def main(folder: Path, db: Path, n_kills: int, n_ingesters: int, pause_s: float, seed: int = 0) -> None:
    """Starts everybody, kills at random, and lets the writers come to an end."""
    (folder / "runs").mkdir(parents=True)
    roles: list[tuple[str, Callable[[], None]]] = [
        (f"writer {i}", lambda i=i: write(folder, i))  # type: ignore[misc]
        for i in range(N_WRITERS)
    ]
    roles += [(f"ingester {i}", lambda: ingest(folder, db)) for i in range(n_ingesters)]
    roles += [("querier", lambda: ask(folder, db))]
    pids = [_fork(folder, *role) for role in roles]
    chance = random.Random(seed)
    weights = [1.0] * N_WRITERS + [4.0] * n_ingesters + [2.0]
    killed: dict[str, int] = {}
    while sum(killed.values()) < n_kills and not (folder / "failures").exists():
        time.sleep(chance.uniform(0.1, 1) * pause_s)
        [at] = chance.choices(range(len(roles)), weights)
        if _kill(pids[at]):
            killed[roles[at][0].split()[0]] = killed.get(roles[at][0].split()[0], 0) + 1
        pids[at] = _fork(folder, *roles[at])
    # Left alone, a new ingester and a new reader must find everything in order.
    before, until = len(_numbers(folder / "acknowledged")) + 2, time.monotonic() + 120
    while time.monotonic() < until and len(_numbers(folder / "acknowledged")) < before:
        time.sleep(0.05)
    before = len(_numbers(folder / "readings")) + 2
    while time.monotonic() < until and len(_numbers(folder / "readings")) < before:
        time.sleep(0.05)
    (folder / "stop").touch()
    for pid in pids[:N_WRITERS]:
        os.waitpid(pid, 0)
    for pid in pids[N_WRITERS:]:
        _kill(pid)
    failures = (folder / "failures").read_text() if (folder / "failures").exists() else ""
    seen = {
        "acknowledged": max(_numbers(folder / "acknowledged"), default=0),
        "readings": len(_numbers(folder / "readings")),
    }
    sys.stdout.write(json.dumps({"killed": killed, "failures": failures, **seen}) + "\n")


def _numbers(path: Path) -> list[int]:
    """The whole lines of a file of numbers."""
    return [int(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def _fork(folder: Path, name: str, work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        with open(folder / "failures", "a") as file:
            file.write(f"{name}: {traceback.format_exc()}\n")
        os._exit(1)
    os._exit(0)


def _kill(pid: int) -> bool:
    """Whether it was alive until this signal."""
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
