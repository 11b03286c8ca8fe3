"""Run directories on an S3 API (moto's server) give the database that a folder gives; state travels with the run."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.collect.plan.cell_plan import Plan
from astraios.collect.plan.job import Job
from astraios.collect.plan.sweep import Sweep
from astraios.errors import StoreError
from astraios.records import ParameterCount
from astraios.runs.directory import RunDirectory
from astraios.runs.place import Place
from astraios.runs.rows import Ending
from tests.conftest import run_cli, run_process

TABLES = {
    "run": "* exclude (created_at, sweep_id, settings)",
    "loss_point": "* exclude (load_key)",
    "loss_summary": "*",
    "score": "*",
    "sample_score": "*",
    "evaluation": "* exclude (wall_seconds)",
    "task": "*",
    "base_model": "*",
    "tuning_method": "*",
    "dataset": "*",
    "attempt": "run_id, attempt, state, error, environment_id, directory",
}


def same_rows(a: Path, b: Path) -> None:
    """Two databases hold the same but for times and costs."""
    for table, columns in TABLES.items():
        query = f"select {columns} from {table} order by all"
        assert store.query(a, query).equals(store.query(b, query)), table


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    server = server_module.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"lab-{uuid.uuid4().hex[:8]}"  # buckets of moto's outlive its server
    s3fs.S3FileSystem().mkdir(name)
    try:
        yield f"s3://{name}/runs"
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        server.stop()


@pytest.mark.promise("object storage gives what a folder gives")
def test_a_bucket_gives_the_database_that_a_folder_gives(
    bucket: str, pair: str, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep, db = tmp_path / "s.toml", tmp_path / "a.duckdb"
    sweep.write_text(pair.replace("[compute]", '[compute]\nstages = "split"'))
    result = run_process("collect", sweep, "--db", db, "--out", bucket, ASTRAIOS_CACHE=str(tmp_path / "cache"))
    assert result.returncode == 0, result.stderr
    assert "2 cells: 2 run now, 0 done before, 0 failed" in result.stderr
    assert store.failed_checks(db) == {}
    same_rows(db, collected.parent / "t.duckdb")
    names = {path.rsplit("/", 1)[1] for path in Place(bucket).files.find(bucket)}
    assert {"manifest.json", "losses.parquet", "cell.json"} <= names
    assert not names & {"checkpoint.pt", "lock"}

    # Another machine, which has seen nothing of this.
    monkeypatch.setenv("ASTRAIOS_CACHE", str(tmp_path / "elsewhere"))
    status = run_cli("status", sweep, "--out", bucket, "--json")
    assert [row["state"] for row in json.loads(status.stdout)] == ["done", "done"]
    again = run_cli("collect", sweep, "--db", tmp_path / "b.duckdb", "--out", bucket)
    assert "2 cells: 0 run now, 2 done before, 0 failed" in again.stderr
    same_rows(tmp_path / "b.duckdb", db)


@pytest.mark.promise("object storage gives what a folder gives")
def test_the_state_of_a_run_travels_with_it(
    bucket: str, pair: str, collected: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astraios.collect.cell import process
    from astraios.collect.plan.cell_plan import describe

    sweep = Sweep.from_toml(pair, "x")
    plan = describe(sweep.cells(["method_id=lora"])[0])
    run_id = plan.cell.run_id
    job = Job(run_id, "x", plan.cell.model_id, 1.0, plan)
    request = process.Request.of(job, sweep.to_json(), sweep.compute)

    def stop_at_five(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 5:
            os.environ["ASTRAIOS_CACHE"] = str(tmp_path / "there")
            raise KeyboardInterrupt

    monkeypatch.setenv("ASTRAIOS_CACHE", str(tmp_path / "here"))
    with pytest.raises(KeyboardInterrupt):
        process.perform(request, bucket, stop_at_five)
    steps: list[int] = []
    process.perform(request, bucket, lambda stage, done, total: steps.append(done) if stage == "training" else None)
    assert steps == [5, 6], "from the checkpoint after step 4, on another machine"
    mirror = Place(bucket)
    mirror.fetch()
    ours, theirs = RunDirectory(mirror.path / run_id), RunDirectory(collected / run_id)
    assert ours.losses() == theirs.losses()
    assert [a["state"] for a in ours.attempts()] == ["done"]
    assert ours.is_done(plan.cell.asked)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A mirror and a worker of the same runs in memory."""
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setenv("ASTRAIOS_CACHE", str(tmp_path))
    MemoryFileSystem.store.clear()
    yield lambda role="mirror": Place("memory://lab/runs", role)
    MemoryFileSystem.store.clear()


def test_a_mirror_follows_what_a_worker_does(place: Any, pair: str) -> None:
    plan = Plan(Sweep.from_toml(pair, "x").cells()[0], ParameterCount(10, 5, 1), 100, 1e6)
    run_id = plan.cell.run_id
    worker, mirror = place("work"), place()
    directory, seen = RunDirectory(worker.path / run_id), RunDirectory(mirror.path / run_id)
    mirror.fetch()
    directory.start(plan.cell.to_json())
    directory.checkpoint_path.write_bytes(b"state")
    directory.write_trained({"cost": {}, "environment": {}})
    worker.push(run_id)
    mirror.fetch()
    assert seen.is_trained()
    assert seen.checkpoint_path.read_bytes() == b"", "that it is there is enough"
    mirror.push(run_id)
    other = place("work")
    other.fetch(run_id, whole=True)
    assert directory.checkpoint_path.read_bytes() == b"state"

    directory.finish(plan.rows("{}"), Ending(attempt=1, started_at="", state="done"), {})
    worker.push(run_id)
    directory.forget_checkpoint()
    worker.push(run_id)
    mirror.fetch(run_id)
    assert seen.is_done(())
    assert seen.garbage() is None
    assert not seen.checkpoint_path.exists()

    (directory.path / "manifest.json").write_text("garbage")
    worker.push(run_id)
    mirror.fetch(run_id)
    assert seen.set_garbage_aside()
    mirror.push(run_id)
    late = place()
    late.seen = {}
    late.fetch()
    assert f"{run_id}/manifest.json" not in late.seen


def test_a_storage_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="nosuch://bucket"):
        Place("nosuch://bucket/runs")
