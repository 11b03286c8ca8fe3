"""Cells on machines that fail: the contract of one process, stages, retries, and every failure with its reason."""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.collect.launch import LAUNCHERS, Event, Launcher, Orders, Pool, local
from astraios.collect.launch.schedule import MAX_LOST, run_jobs
from astraios.collect.plan.cell_plan import Plan, describe
from astraios.collect.plan.job import Job
from astraios.collect.plan.sweep import Cell, ComputeSpec, Sweep
from astraios.collect.run import check_launch
from astraios.records import ParameterCount
from astraios.runs.directory import RunDirectory
from astraios.runs.place import Place
from astraios.runs.rows import Ending
from tests.conftest import assert_one_line, run_cli, run_process, sweep_toml

pytest.importorskip("torch")


def losses(out: Path) -> dict[str, list[tuple[str, int, float]]]:
    return {
        path.parent.name: [(p.split, p.step, p.loss_nats) for p in RunDirectory(path.parent).losses()]
        for path in sorted(out.glob("*/losses.jsonl"))
    }


def attempts(out: Path) -> list[int]:
    return [len(RunDirectory(path.parent).attempts()) for path in sorted(out.glob("*/manifest.json"))]


def test_stages_apart_give_the_same_runs(pair: str, collected: Path, tmp_path: Path) -> None:
    sweep, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "split"
    sweep.write_text(pair.replace("[compute]", '[compute]\nstages = "split"'))
    result = run_cli("collect", sweep, "--db", db, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "4 jobs: 2 cells" in result.stderr
    assert "2 cells: 2 run now" in result.stderr
    assert losses(out) == losses(collected)
    assert attempts(out) == [1, 1]
    assert not list(out.glob("*/checkpoint.pt"))
    assert store.failed_checks(db) == {}
    scores = "select run_id, metric, value from final_score order by all"
    assert store.query(db, scores).equals(store.query(collected.parent / "t.duckdb", scores))


def test_one_process_does_what_its_file_says(pair: str, collected: Path, tmp_path: Path) -> None:
    from astraios.collect.cell.process import Request

    sweep = Sweep.from_toml(pair, "x")
    plan = describe(sweep.cells(["method_id=lora"])[0])
    out = tmp_path / "runs"
    file = tmp_path / "cell.json"
    for stage in ("train", "evaluate"):
        job = Job("k", "k", plan.cell.model_id, 1.0, plan, stage=stage)
        file.write_text(Request.of(job, sweep.to_json(), sweep.compute).to_json())
        words = ("collect", "--cell", file, "--out", out)
        # A process of its own for what draws and computes; that another can go on is told by the second one being this.
        result = run_process(*words, cwd=tmp_path) if stage == "train" else run_cli(*words)
        assert result.returncode == 0, result.stderr
        assert (out / plan.cell.run_id / "manifest.json").exists() == (stage == "evaluate")
    assert losses(out)[plan.cell.run_id] == losses(collected)[plan.cell.run_id], "bit for bit as in a pool"
    file.write_text("{}")
    assert_one_line(run_cli("collect", "--cell", file, "--out", out), 2, "not a cell that this astraios can run")
    assert_one_line(run_cli("collect", "--cell", tmp_path / "gone.json"), 2, "gone.json: can't be read")


def _what_is_there(connection: Connection) -> None:
    from transformers import conversion_mapping

    wanted = (
        "torch",
        "peft.tuners.lora.bnb",
        "pyarrow.parquet",
        "astraios.models.methods.lora",
        "astraios.evaluate.tasks.aatk",
    )
    missing = [name for name in wanted if name not in sys.modules]
    connection.send(
        missing + ([] if getattr(conversion_mapping, "_checkpoint_conversion_mapping_cache", True) else ["the mapping"])
    )


def test_the_process_of_a_cell_begins_with_what_it_needs() -> None:
    """The fork server passes over in silence what fails in it; every cell would then do it again."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["astraios.collect.launch._preload"])
    ours, theirs = context.Pipe()
    process = context.Process(target=_what_is_there, args=(theirs,))
    process.start()
    assert ours.recv() == []
    process.join()


def test_data_that_changed_since_the_plan_are_refused(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    from astraios.collect.cell.process import Request

    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(pairs_file.read_text())
    sweep = Sweep.from_toml(sweep_toml(small_models[:1], pairs), "x")
    plan = describe(sweep.cells()[0])
    file = tmp_path / "cell.json"
    file.write_text(Request.of(Job("k", "k", "m", 1.0, plan), sweep.to_json(), sweep.compute).to_json())
    pairs.write_text(pairs.read_text().replace("Add 7 ", "Plus 7 "))
    assert_one_line(run_cli("collect", "--cell", file, "--out", tmp_path), 1, "not here what they were")


def nasty_work(connection: Connection, request: Any, out: str, device: str | None) -> None:
    """What a child of the pool does, with something that goes wrong at its third step, by seed."""
    import torch

    from astraios.train.loop import Trainer

    seed, step = request.plan.cell.seed, Trainer._step
    directory = Path(out) / request.plan.cell.run_id

    def bad_step(self: Trainer, number: int) -> Any:
        if number == 3 and seed == 1:
            torch.empty(10**14)
        if number == 3 and seed == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if number == 3 and seed == 3:
            time.sleep(60)
        if number == 3 and (seed == 4 or (seed == 7 and not (directory / "once").exists())):
            (directory / "once").touch()
            raise ZeroDivisionError("bad\nnumber")
        return step(self, number)

    Trainer._step = bad_step  # type: ignore[method-assign]
    if seed == 3:
        request = dataclasses.replace(request, time_limit_minutes=0.05)
    REAL_WORK(_Spoiler(connection, directory, seed), request, out, device)  # type: ignore[arg-type]


class _Spoiler:
    """A connection on which "done" is sent after the run directory has been spoiled."""

    def __init__(self, connection: Connection, directory: Path, seed: int) -> None:
        self.connection, self.directory, self.seed = connection, directory, seed

    def recv(self) -> Any:
        return self.connection.recv()

    def send(self, content: Any) -> None:
        if content == ("done",) and self.seed == 5:
            (self.directory / "manifest.json").write_text('{"format": 1, "sta')
        if content == ("done",) and self.seed == 6:
            (self.directory / "scores.parquet").write_bytes(b"PAR1 garbage")
        self.connection.send(content)


REAL_WORK = local._work


@pytest.mark.promise("what goes wrong is recorded and the sweep goes on")
def test_what_goes_wrong_is_recorded_and_the_sweep_goes_on(
    small_models: list[str], pairs_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_work", nasty_work)
    path, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "runs"
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], seeds=list(range(8)))
    path.write_text(text.replace("[compute]", "[compute]\nretries = 1"))
    result = run_cli("collect", path, "--db", db, "--out", out)
    assert result.returncode == 1
    assert "8 cells: 2 run now, 0 done before, 6 failed" in result.stderr
    assert result.stderr.count("tried again: ") == 7
    rows = store.query(db, "select seed, attempt, state, error from attempt join run using (run_id)").rows()
    reasons = {
        1: "out of memory: set ",
        2: "its process was killed by signal 9; out of memory is the usual cause",
        3: "time limit of 0.05 minutes reached while ",
        4: "ZeroDivisionError: bad number",
        5: "it wrote garbage: ",
        6: "it wrote garbage: scores.parquet is not what manifest.json says",
    }
    for seed, reason in reasons.items():
        tries = sorted((attempt, state, error) for s, attempt, state, error in rows if s == seed)
        assert [(attempt, state) for attempt, state, _ in tries] == [(1, "failed"), (2, "failed")], seed
        assert all(error.startswith(reason) for _, _, error in tries), tries
        assert reason in result.stderr
    assert [(a, state) for s, a, state, _ in sorted(rows) if s == 7] == [(1, "failed"), (2, "done")]
    assert store.failed_checks(db) == {}
    status = json.loads(run_cli("status", path, "--out", out, "--json").stdout)
    assert {row["seed"]: row["state"] for row in status} == {0: "done", **dict.fromkeys(reasons, "failed"), 7: "done"}
    assert all(row["reason"].startswith(reasons[row["seed"]]) for row in status if row["state"] == "failed")

    monkeypatch.undo()
    again = run_cli("collect", path, "--db", db, "--out", out)
    assert "8 cells: 6 run now, 2 done before, 0 failed" in again.stderr, "healed, each goes on from its checkpoint"
    assert again.returncode == 0
    assert store.failed_checks(db) == {}


class Machines(Pool):
    """A cluster in this process that does as it is told: by job, what becomes of each try."""

    def __init__(self, out: Path, fates: dict[str, list[str]]) -> None:
        self.out, self.fates = out, fates
        self.started: list[str] = []
        self.running: list[Job] = []
        self.closed = False

    def room(self) -> int:
        return 4 - len(self.running)

    def start(self, jobs: Any) -> None:
        self.running += jobs
        self.started += [job.key for job in jobs]

    def poll(self, seconds: float) -> list[Event]:
        job = self.running.pop(0)
        fates = self.fates.get(job.key, [])
        kind, _, reason = (fates.pop(0) if fates else "done").partition(" ")
        if kind == "done" and job.plan:
            directory = RunDirectory(self.out / job.plan.cell.run_id)
            if job.stage == "train":
                directory.start(job.plan.cell.to_json())
                directory.checkpoint_path.touch()
                directory.write_trained({"cost": {}, "environment": {}})
            else:
                attempt, started = directory.start(job.plan.cell.to_json())
                directory.finish(job.plan.rows("{}"), Ending(attempt=attempt, started_at=started, state="done"), {})
        return [Event(job.key, "started"), Event(job.key, "lost" if kind == "lost" else "ended", reason)]

    def close(self) -> None:
        self.closed = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fake(Launcher):
    pool: Machines

    def open(self, jobs: Any, orders: Orders) -> Pool:
        return self.pool


@pytest.fixture
def plan(small_models: list[str], pairs_file: Path) -> Plan:
    sweep = Sweep.from_toml(sweep_toml(small_models[:1], pairs_file, tasks=[]), "x")
    return Plan(sweep.cells()[0], ParameterCount(10, 5, 1), 100, 1e6)


def seeds(plan: Plan, n: int) -> list[Plan]:
    return [dataclasses.replace(plan, cell=dataclasses.replace(plan.cell, seed=seed)) for seed in range(n)]


def run_on(
    out: Path, jobs: list[Job], fates: dict[str, list[str]], **compute: Any
) -> tuple[Any, Machines, list[Event]]:
    events: list[Event] = []
    pool = Machines(out, fates)
    orders = Orders('{"name": "x"}', Place(out), ComputeSpec(**compute), {})
    ends = run_jobs(Fake(name="fake", pool=pool), jobs, orders, events.append)
    assert pool.closed
    return ends.failed, pool, events


def test_a_lost_machine_is_no_failure_of_the_cell(plan: Plan, tmp_path: Path) -> None:
    jobs = [Job(str(i), str(i), "m", 1.0, p) for i, p in enumerate(seeds(plan, 3))]
    fates = {"0": ["lost with node a"] * 3, "1": ["lost x"] * (MAX_LOST + 1), "2": ["ended with code 1", "done"]}
    failed, pool, events = run_on(tmp_path, jobs, fates, retries=1)
    assert failed == {}
    assert pool.started.count("0") == 4
    assert pool.started.count("1") == MAX_LOST + 2, "then it counts as failed once, and is tried again"
    assert [len(RunDirectory(tmp_path / job.cell.run_id).attempts()) for job in jobs if job.cell] == [1, 2, 2]
    assert {e.kind for e in events} == {"started", "retried", "done"}


def test_manifests_decide_not_what_a_cluster_says(plan: Plan, tmp_path: Path) -> None:
    a, b = (Job(key, key, "m", 1.0, p) for key, p in zip("ab", seeds(plan, 2), strict=True))
    assert a.cell is not None
    done = Machines(tmp_path, {})
    done.start([a])
    done.poll(0)
    failed, _, _ = run_on(tmp_path, [a, b], {"a": ["ended UNKNOWN"], "b": ["ended"]})
    assert failed == {"b": "its process said that it was done, and left no manifest"}
    [attempt] = RunDirectory(tmp_path / b.cell.run_id).attempts() if b.cell else []
    assert attempt["error"] == failed["b"]


def test_stages_wait_and_fail_with_what_they_wait_for(plan: Plan, tmp_path: Path) -> None:
    first, second = seeds(plan, 2)
    jobs = [
        Job("base", "base m", "m", 1.0, stage="base"),
        Job("t1", "t1", "m", 1.0, first, "base", "train"),
        Job("e1", "e1", "m", 0.1, first, "t1", "evaluate"),
        Job("t2", "t2", "m", 5.0, second, "base", "train"),
        Job("e2", "e2", "m", 0.1, second, "t2", "evaluate"),
    ]
    failed, pool, _ = run_on(tmp_path, jobs, {"t1": ["ended out of memory"]})
    assert pool.started == ["base", "t2", "t1", "e2"]
    assert failed == {"t1": "out of memory", "e1": "out of memory"}
    assert len(RunDirectory(tmp_path / first.cell.run_id).attempts()) == 1
    failed, pool, _ = run_on(tmp_path / "2", jobs, {"base": ["ended no network"]})
    assert pool.started == ["base"]
    assert failed["base"] == "no network"
    assert failed["e1"] == failed["t1"] == "base m: no network"


def test_what_can_not_run_is_refused_before_it_starts(plan: Plan, tmp_path: Path) -> None:
    bad = dataclasses.replace(plan, problem="needs 61 GB")
    failed, pool, _ = run_on(tmp_path, [Job("a", "a", "m", 1.0, bad)], {}, retries=3)
    assert (failed, pool.started) == ({"a": "needs 61 GB"}, [])
    assert RunDirectory(tmp_path / plan.cell.run_id).attempts()[0]["error"] == "needs 61 GB"


def test_what_a_launcher_can_not_read_is_refused(small_models: list[str], pairs_file: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file)
    from astraios.errors import UsageError

    for table, message in (
        ('[launch.lokal]\npartition = "a"', "did you mean 'local'"),
        ("[launch.local]\nx = 1", "unknown field 'x'"),
    ):
        with pytest.raises(UsageError, match=message):
            check_launch(Sweep.from_toml(f"{text}\n{table}", "x"))
    for change, message in (
        ('stages = "parted"', "known: split, together"),
        ("time_limit_minutes = 0", "must be above 0"),
        ("retries = -1", "must be at least 0"),
    ):
        with pytest.raises(UsageError, match=message):
            Sweep.from_toml(text.replace("[compute]", f"[compute]\n{change}"), "x")
    assert "local" in LAUNCHERS
    assert isinstance(Sweep.from_toml(text, "x").cells()[0], Cell)


class Forever(Machines):
    """A cluster on which jobs run until they are stopped, but for those in `quick`."""

    quick = ("a",)

    def poll(self, seconds: float) -> list[Event]:
        job = next((job for job in self.running if job.key in (*self.quick, *self.fates)), None)
        if job is None:
            return [Event(job.key, "started") for job in self.running]
        self.running.remove(job)
        self.running.insert(0, job)
        return super().poll(seconds)

    def stop(self, key: str, reason: str) -> None:
        self.fates[key] = [f"ended {reason}"]


@pytest.mark.parametrize("remote", [False, True])
def test_hopeless_cells_are_ended_early_and_stay_so(
    plan: Plan, tmp_path: Path, remote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astraios.collect.run import _stopped_before
    from astraios.records import LossPoint
    from astraios.workflow.stopping import judge

    monkeypatch.setenv("ASTRAIOS_CACHE", str(tmp_path / "cache"))
    place = Place(f"memory://{tmp_path.name}" if remote else tmp_path / "runs")
    spec = dataclasses.replace(plan.cell.train, steps=400)
    plans = [
        dataclasses.replace(p, cell=dataclasses.replace(p.cell, train=spec, seed=seed))
        for seed, p in enumerate([plan] * 3)
    ]
    # The best so far, one that is on its way to it, and one that has flattened out far above.
    for p, floor, last in zip(plans, (1.0, 0.99, 2.5), (400, 200, 200), strict=True):
        directory = RunDirectory((Place(place.address, "work") if remote else place).path / p.cell.run_id)
        directory.start(p.cell.to_json())
        for step in range(0, last + 1, 20):
            noise = 1e-3 * ((step // 20) % 3 - 1)
            directory.append_loss(LossPoint("test", step, step, floor + noise + 3 * (step + 20) ** -0.5))
        directory.flush()
        Place(place.address, "work").push(p.cell.run_id)
    verdict = judge(place, plans, 0.9)
    place.fetch()
    run_ids = [p.cell.run_id for p in plans]
    assert list(verdict(run_ids)) == [run_ids[2]]
    if remote:
        return
    jobs = [Job(key, key, "m", 1.0, p) for key, p in zip("abc", plans, strict=True)]
    pool = Forever(tmp_path / "runs", {"b": ["done"]})
    events: list[Event] = []
    orders = Orders('{"name": "x"}', place, ComputeSpec(retries=2), {})
    ends = run_jobs(Fake(name="fake", pool=pool), jobs, orders, events.append, verdict, judge_every=0.0)
    assert ends.failed == {}
    assert list(ends.stopped) == ["c"]
    assert ends.stopped["c"].startswith("stopped as hopeless: at step 200 of 400 its final loss is put at ")
    assert [e.kind for e in events if e.key == "c"][-1] == "stopped"
    assert pool.started.count("c") == 1, "it is not tried again"
    assert list(_stopped_before(jobs, place.path)) == [run_ids[2]], "nor by the next command"
