"""The same sweep on clusters: Ray with three nodes, submitit's local executor, a real SLURM where it is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.collect.launch import LAUNCHERS, Orders, slurm
from astraios.collect.launch._process import file_name, last_words, progress_of, run
from astraios.collect.plan.job import Job
from astraios.collect.plan.sweep import ComputeSpec, Sweep
from astraios.collect.run import check_launch
from astraios.errors import UsageError
from astraios.runs.directory import RunDirectory
from astraios.runs.place import Place
from tests.collect import slurm_cluster as slurm_cluster_of
from tests.conftest import REPOSITORY, run_cli, sweep_toml

pytest.importorskip("torch")


def losses(out: Path) -> dict[str, list[tuple[str, int, float]]]:
    return {
        path.parent.name: [(p.split, p.step, p.loss_nats) for p in RunDirectory(path.parent).losses()]
        for path in sorted(out.glob("*/losses.jsonl"))
    }


def collect_here(sweep: Path, folder: Path) -> dict[str, list[tuple[str, int, float]]]:
    """Losses of the sweep from the local launcher."""
    result = run_cli("collect", sweep, "--db", folder / "here.duckdb", "--out", folder / "here")
    assert result.returncode == 0, result.stderr
    return losses(folder / "here")


def check_complete(db: Path, out: Path, sweep: Path, expected: dict[str, Any]) -> None:
    """Every cell once, with these losses, in a sound database."""
    n = len(Sweep.read(str(sweep)).cells())
    assert losses(out) == expected
    assert len(expected) == n
    attempts = [a for path in out.glob("*/manifest.json") for a in RunDirectory(path.parent).attempts()]
    assert [a["state"] for a in attempts] == ["done"] * n, "each was finished once, by its first try"
    assert store.failed_checks(db) == {}
    assert store.query(db, "select count(*) as n from attempt")["n"][0] == n
    assert len(store.query(db, "from final_loss where split = 'test'")) == n
    counts = store.query(db, "select count(*) as n, count(distinct (run_id, split, step)) as d from loss_point").row(0)
    assert counts[0] == counts[1] == sum(map(len, expected.values()))


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def start_collect(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "astraios.cli", "collect", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def steps(out: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*/losses.jsonl"))


@pytest.fixture
def ray_cluster() -> Iterator[Any]:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("ray is not installed")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        yield cluster, [cluster.add_node(**small), cluster.add_node(**small)]
    finally:
        cluster.shutdown()


@pytest.mark.slow
@pytest.mark.promise("a Ray cluster that loses machines loses no run")
def test_ray_with_a_node_and_the_driver_killed(
    ray_cluster: Any, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    cluster, nodes = ray_cluster
    sweep, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "runs"
    text = sweep_toml(small_models, pairs_file, steps=200)
    sweep.write_text(text + f'[launch.ray]\naddress = "{cluster.address}"\nlog = true\n')
    expected = collect_here(sweep, tmp_path)

    driver, again = start_collect(sweep, "--launcher", "ray", "--db", db, "--out", out), None
    try:
        wait_for(lambda: len(list(out.glob("*/losses.jsonl"))) >= 3, 400, "three cells to train")
        cluster.remove_node(nodes[0], allow_graceful=False)
        seen = steps(out)
        wait_for(lambda: steps(out) > seen + 20, 300, "others to go on")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        before = {p.parent.name: p.read_bytes() for p in out.glob("*/manifest.json")}
        assert len(before) < 6, "the driver was killed in the middle"
        again = start_collect(sweep, "--launcher", "ray", "--db", db, "--out", out)
        said, _ = again.communicate(timeout=600)
    finally:
        for process in (driver, again):
            if process is not None and process.poll() is None:
                process.kill()
    assert again.returncode == 0, said
    assert f"6 cells: {6 - len(before)} run now, {len(before)} done before, 0 failed" in said
    assert "training" in said, "what cells say is shown here"
    check_complete(db, out, sweep, expected)
    assert all((out / run_id / "manifest.json").read_bytes() == content for run_id, content in before.items())


@pytest.mark.slow
@pytest.mark.promise("a Ray cluster that loses machines loses no run")
def test_ray_on_the_tiny_sweep_gives_the_losses_of_local(ray_cluster: Any, tmp_path: Path) -> None:
    cluster, _ = ray_cluster
    sweep = tmp_path / "s.toml"
    sweep.write_text(
        'extends = "tiny"\nname = "cut"\nmodels = ["tiny/66k", "tiny/116k"]\nmethods = ["fft", "lora", "ptuning"]\n'
        '[train]\nsteps = 20\neval_every = 10\n[compute]\nstages = "split"\n'
        f'[launch.ray]\naddress = "{cluster.address}"\nplacement = "pack"\n'
    )
    expected = collect_here(sweep, tmp_path)
    db, out = tmp_path / "a.duckdb", tmp_path / "runs"
    process = start_collect(sweep, "--launcher", "ray", "--db", db, "--out", out)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    check_complete(db, out, sweep, expected)
    scores = "select run_id, task_id, metric, value from final_score order by all"
    assert store.query(db, scores).equals(store.query(tmp_path / "here.duckdb", scores))


@pytest.mark.promise("a SLURM cluster that loses machines loses no run")
def test_slurm_jobs_run_through_submitit(pair: str, collected: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    sweep, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "runs"
    sweep.write_text(pair + '[launch.slurm]\ncluster = "local"\n')
    result = run_cli("collect", sweep, "--launcher", "slurm", "--db", db, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "2 cells: 2 run now" in result.stderr
    check_complete(db, out, sweep, losses(collected))
    logs = [path.read_text() for path in (out / ".launch" / "logs").iterdir()]
    assert len(logs) == 2
    assert all("== started\n" in text and "training" in text and "== ended with code 0" in text for text in logs)


def test_the_queue_is_read_and_manifests_decide(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[str, str] = {}
    monkeypatch.setattr(slurm, "_squeue", lambda: states)
    cancelled: list[Any] = []
    monkeypatch.setattr(slurm.subprocess, "run", lambda command, **_: cancelled.append(command))
    orders = Orders("{}", Place(tmp_path), ComputeSpec(), {"poll_seconds": 0.0})
    orders.folder.mkdir()
    journal = orders.folder / "slurm.jsonl"
    journal.write_text('{"key": "a", "id": "1"}\n{"key": "b", "id": "7_0"}\n{"key": "a", "id": "7_1"}\ntorn')
    states.update({"7_0": "RUNNING", "7_1": "PENDING", "1": "RUNNING"})
    pool = LAUNCHERS.get("slurm").open([Job("a", "a", "m", 1.0), Job("b", "b", "m", 1.0)], orders)
    assert pool.adopted() == ["a", "b"], "the latest job of each"
    assert [(e.key, e.kind) for e in pool.poll(0)] == [("b", "started")]
    states["7_1"] = "NODE_FAIL"
    states["7_0"] = "PENDING"
    assert [(e.key, e.kind) for e in pool.poll(0)] == [("a", "lost")]
    states["7_0"] = "RUNNING"
    assert [e.kind for e in pool.poll(0)] == ["started"], "queued again, it started anew"
    states["7_0"] = "OUT_OF_MEMORY"
    [end] = pool.poll(0)
    assert (end.kind, end.stage.partition(":")[0]) == ("ended", "out of memory")
    assert pool.poll(0) == []
    pool.close()
    assert not cancelled, "nothing was left to cancel"


def test_what_a_process_says_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / f"{file_name('base tiny/66k')}.log"
    heard: list[str] = []
    (tmp_path / "bad.json").write_text("[]")
    code, reason = run(
        str(tmp_path / "bad.json"), str(tmp_path), str(log), {"PYTHONPATH": str(REPOSITORY)}, heard.append
    )
    assert code == 2
    assert "not a cell" in reason
    assert last_words(log) == reason
    assert heard
    assert last_words(tmp_path / "gone.log") is None
    assert progress_of("scoring next-token 1/3") == ("scoring next-token", 1, 3)
    assert progress_of("no progress") is None


def test_settings_of_launchers_are_checked(small_models: list[str], pairs_file: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file)
    for table, message in (
        ('[launch.slurm]\npartitoin = "gpu"', "did you mean 'partition'"),
        ('[launch.slurm]\nminutes = "long"', "must be of type int"),
        ("[launch.slurm.evaluate]\nminutse = 3", "did you mean 'minutes'"),
        ('[launch.ray]\nplacement = "far"', "known: pack, spread"),
    ):
        with pytest.raises(UsageError, match=message):
            check_launch(Sweep.from_toml(f"{text}\n{table}", "x"))
    sweep = Sweep.from_toml(f'{text}\n[launch.slurm]\npartition = "a"\n[launch.slurm.evaluate]\npartition = "b"', "x")
    read = LAUNCHERS.get("slurm").read
    assert [read(sweep.launch["slurm"], stage).partition for stage in ("train", "evaluate")] == ["a", "b"]
    assert json.loads(sweep.to_json())["launch"]["slurm"]["partition"] == "a"


@pytest.fixture
def slurm_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[slurm_cluster_of.Cluster]:
    pytest.importorskip("submitit")
    if problem := slurm_cluster_of.missing():
        pytest.skip(f"no SLURM: {problem}")
    folder = tmp_path / "slurm"
    folder.mkdir()
    cluster = slurm_cluster_of.Cluster(folder)
    try:
        cluster.start()
        for name in ("PATH", "SLURM_CONF"):
            monkeypatch.setenv(name, cluster.environment[name])
        yield cluster
    finally:
        cluster.stop()


@pytest.mark.slow
@pytest.mark.promise("a SLURM cluster that loses machines loses no run")
def test_a_real_slurm_with_a_node_and_the_driver_killed(
    slurm_cluster: slurm_cluster_of.Cluster, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    sweep, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "runs"
    text = sweep_toml(small_models[:2], pairs_file, steps=400)
    sweep.write_text(f'{text}[launch.slurm]\npartition = "work"\nconstraint = "fast"\npoll_seconds = 1.0\n')
    expected = collect_here(sweep, tmp_path)

    driver = start_collect(sweep, "--launcher", "slurm", "--db", db, "--out", out)
    again = None
    try:
        wait_for(lambda: len(list(out.glob("*/checkpoint.pt"))) == 2, 500, "two cells to train")
        [killed] = [job for job, state, node in slurm_cluster.queue() if (state, node) == ("RUNNING", "south")]
        slurm_cluster.kill_node("south")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        submitted = {job for job, _, _ in slurm_cluster.queue()}
        again = start_collect(sweep, "--launcher", "slurm", "--db", db, "--out", out)
        requeued = (killed, "PENDING", "")
        wait_for(lambda: requeued in slurm_cluster.queue(), 300, "SLURM to queue the lost job again")
        slurm_cluster.start_node("south")
        said, _ = again.communicate(timeout=800)
    finally:
        for process in (driver, again):
            if process is not None and process.poll() is None:
                process.kill()
    assert again.returncode == 0, said
    assert "0 failed" in said
    ids = [json.loads(line)["id"] for line in (out / ".launch" / "slurm.jsonl").read_text().splitlines()]
    assert len(ids) == 4, "the second command found the jobs of the first, and submitted none again"
    assert submitted <= set(ids)
    log = [f.read_text() for f in (out / ".launch" / "logs").iterdir() if f.read_text().count("== started") == 2]
    assert len(log) == 1, "the lost job was started twice"
    assert "training" in log[0].rpartition("== started")[2]
    check_complete(db, out, sweep, expected)


@pytest.mark.slow
@pytest.mark.promise("a SLURM cluster that loses machines loses no run")
def test_a_real_slurm_queues_again_what_runs_out_of_time(
    slurm_cluster: slurm_cluster_of.Cluster, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    sweep, db, out = tmp_path / "s.toml", tmp_path / "a.duckdb", tmp_path / "runs"
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], steps=1500)
    sweep.write_text(f"{text}[launch.slurm]\npoll_seconds = 1.0\n")
    expected = collect_here(sweep, tmp_path)
    driver = start_collect(sweep, "--launcher", "slurm", "--db", db, "--out", out)
    try:
        wait_for(lambda: bool(list(out.glob("*/checkpoint.pt"))), 500, "a cell to train")
        [(job, _, _)] = slurm_cluster.queue()
        # What SLURM sends before the end of an allocation and on pre-emption.
        subprocess.run(["scancel", "--signal=USR2", job], check=True)
        wait_for(lambda: [state for _, state, _ in slurm_cluster.queue()] == ["PENDING"], 60, "it to be queued again")
        said, _ = driver.communicate(timeout=800)
    finally:
        if driver.poll() is None:
            driver.kill()
    assert driver.returncode == 0, said
    [log] = [f.read_text() for f in (out / ".launch" / "logs").iterdir()]
    assert log.count("== started") == 2
    check_complete(db, out, sweep, expected)
