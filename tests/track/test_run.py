"""`astraios.init`: what is logged is there, whatever ends the process, and reads as what `collect` writes."""

from __future__ import annotations

import json
import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import astraios
from astraios.errors import StoreError, UsageError
from astraios.records import LossPoint
from astraios.runs.directory import RunDirectory
from astraios.runs.log import read_lines
from astraios.runs.status import standings
from astraios.track import reopen
from tests.conftest import REPOSITORY, assert_one_line, run_cli

KNOWN = {"model": "mine/small", "method": "lora", "n_params": 1.1e9, "seed": 0}


def directory(run: astraios.track.Run) -> RunDirectory:
    assert run.path is not None
    return RunDirectory(run.path)


def test_a_run_is_a_run_directory(tmp_path: Path) -> None:
    run = astraios.init(**KNOWN, out=tmp_path, dataset="mine@v3", steps=200, name="first", tags=["a"])
    run.log({"train/loss": 2.5, "eval/loss": 2.4, "learning_rate": 9e-5, "grad_norm": 0.7}, step=100, tokens=6_400)
    run.log({"train/loss": 2.25}, tokens=6_464)
    run.score("gsm8k", accuracy=0.41, n=1319, stderr=0.0135)
    run.score("reward", {"mean": 0.2}, step=101, tokens=6_464, n=64)
    found = directory(run)
    assert [row.state for row in standings(tmp_path)] == ["running"]
    run.finish()
    run.finish()
    for late in (lambda: run.log({"loss": 1.0}), lambda: run.score("a", accuracy=1.0)):
        with pytest.raises(UsageError, match="is finished"):
            late()
    assert found.garbage() is None
    assert found.losses() == [
        LossPoint("batch", 100, 6_400, 2.5, None, 9e-5),
        LossPoint("batch", 101, 6_464, 2.25),
        LossPoint("test", 100, 6_400, 2.4, None, 9e-5),
    ]
    assert [(m.name, m.step, m.value) for m in found.metrics()] == [("grad_norm", 100, 0.7)]
    [point] = found.points()
    assert (point.task_id, point.metric, point.step, point.value, point.n) == ("reward", "mean", 101, 0.2, 64)
    manifest = found.manifest()
    assert manifest is not None
    rows = manifest["rows"]
    assert (rows["run"]["steps"], rows["run"]["n_tokens"], rows["run"]["settings"]["planned_steps"]) == (
        101,
        6_464,
        200,
    )
    assert (rows["run"]["model_id"], rows["run"]["method_id"], rows["run"]["origin"]) == ("mine/small", "lora", "live")
    assert rows["run"]["learning_rate"] == 9e-5, "the largest that was logged, where none is given"
    assert "logged" in rows["run"]["settings"]["sources"]["learning_rate"]
    assert {task["task_id"] for task in rows["tasks"]} == {"gsm8k", "reward"}
    assert set(manifest["files"]) == {f"{n}.parquet" for n in ("losses", "scores", "samples", "points", "metrics")}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("loss", "batch"), ("train/loss", "batch"), ("train_loss", "batch"), ("eval/loss", "test"),
        ("val_loss", "test"), ("eval_code_loss", "test-code"), ("router_loss", None), ("perplexity", None),
        ("eval/aux_loss", None), ("eval/lm loss", "test"), ("train/cross_entropy_loss", "batch"),
    ],
)  # fmt: skip
def test_names_of_losses(tmp_path: Path, name: str, split: str | None) -> None:
    with astraios.init(**KNOWN, out=tmp_path) as run:
        run.log({name: 2.0}, step=1)
    found = directory(run)
    assert [point.split for point in found.losses()] == ([split] if split else [])
    assert [metric.name for metric in found.metrics()] == ([] if split else [name])


def test_two_sets_are_two_splits(tmp_path: Path) -> None:
    """As importers have it, so that a run logged live and imported is one run."""
    with astraios.init(**KNOWN, out=tmp_path) as run:
        for step in (1, 2):
            run.log({"val_loss": 2.0 / step, "test_loss": 3.0 / step}, step=step)
    assert {(point.split, point.step, point.loss_nats) for point in directory(run).losses()} == {
        ("test", 1, 2.0), ("test-test", 1, 3.0), ("test", 2, 1.0), ("test-test", 2, 1.5)
    }  # fmt: skip


def test_nothing_that_is_a_number_is_lost(tmp_path: Path) -> None:
    np = pytest.importorskip("numpy")
    torch = pytest.importorskip("torch")
    with astraios.init(**KNOWN, out=tmp_path) as run:
        run.define("objective", split="test")
        run.define("loss")
        values = {
            "loss": 1.5, "objective": torch.tensor(2.5), "nested": {"a": np.float32(0.5), "b": {"c": 3}},
            "nan": float("nan"), "num_tokens": float("nan"), "whole": 7, "eval/loss": 9.0, "lr": 0.5,
        }  # fmt: skip
        with pytest.warns(UserWarning, match="picture is no number"):
            run.log({**values, "picture": "png", "none": None}, step=3)
        run.log({"lr": 0.25}, step=4)
        run.log({"val_loss": 8.0, "objective": 2.25}, step=4)
    found = directory(run)
    assert found.losses() == [LossPoint("test", 3, None, 2.5, None, 0.5), LossPoint("test", 4, None, 2.25, None, 0.25)]
    told = {(m.name, m.step): m.value for m in found.metrics()}
    assert told.pop(("nan", 3)) != told
    assert told == {
        ("loss", 3): 1.5, ("nested/a", 3): 0.5, ("nested/b/c", 3): 3.0, ("whole", 3): 7.0, ("eval/loss", 3): 9.0,
        ("learning_rate", 4): 0.25, ("val_loss", 4): 8.0,
    }  # fmt: skip


def test_tokens_follow_from_the_step(tmp_path: Path) -> None:
    with astraios.init(**KNOWN, out=tmp_path, tokens_per_step=512) as run:
        run.log({"loss": 2.0})
        run.log({"loss": 1.5, "num_tokens": 1000})
    assert [(p.step, p.n_tokens) for p in directory(run).losses()] == [(1, 512), (2, 1000)]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"n_params": None}, "how many parameters"),
        ({"n_params": "many"}, "n_params should be a whole number, not 'many'"),
        ({"n_params": -1}, "n_params should be"),
        ({"seed": 0.5}, "seed should be a whole number"),
        ({"model": None}, "which base model"),
        ({"id": "../other"}, "letters, digits"),
        ({"id": "new", "resume": "must"}, "there is no run new"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_line(tmp_path: Path, change: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line) as refused:
        astraios.init(**{**KNOWN, **change}, out=tmp_path)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir()), "nothing was begun"


def test_facts_are_looked_up_in_the_configuration(tmp_path: Path) -> None:
    """As other trackers are called."""
    config = {"model_name": "mine/a", "lr": 1e-4, "seed": 3, "num_parameters": 5_000_000, "hub_token": "hf_" + "x" * 30}
    run = astraios.init(project="p", name="n", config=config, tags=("t",), group="g", out=tmp_path)
    run.finish()
    text = (directory(run).path / "manifest.json").read_text()
    row = json.loads(text)["rows"]["run"]
    assert (row["model_id"], row["n_params"], row["learning_rate"], row["seed"]) == ("mine/a", 5_000_000, 1e-4, 3)
    assert row["settings"]["sources"]["n_params"] == "config"
    assert (row["settings"]["project"], row["settings"]["tags"]) == ("p", ["t"])
    assert row["method_id"] == "unspecified"
    for file in directory(run).path.iterdir():
        assert b"hf_xxxx" not in file.read_bytes(), f"a token in {file.name}"


def test_scores_are_fractions(tmp_path: Path) -> None:
    with astraios.init(**KNOWN, out=tmp_path) as run:
        for problem in ({"accuracy": 41}, {"accuracy": "good"}, {}):
            with pytest.raises(UsageError, match="score of gsm8k"):
                run.score("gsm8k", **problem)
        run.score("humaneval/x y", {"pass@1": 0.25}, n=164)
        run.score("humaneval/x y", {"pass@10": 0.5}, n=164)
    manifest = directory(run).manifest()
    assert manifest is not None
    assert [row["task_id"] for row in manifest["rows"]["evaluations"]] == ["humaneval/x y"]
    assert manifest["files"]["scores.parquet"]["rows"] == 2


def test_one_process_of_several_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    run = astraios.init(**KNOWN, out=tmp_path)
    run.log({"loss": 1.0})
    run.score("a", accuracy=1.0)
    run.finish()
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv("RANK", "0")
    run = astraios.init(**KNOWN, out=tmp_path)
    child = os.fork()
    if not child:  # A loader's worker, say.
        run.log({"loss": 1.0}, step=7)
        run.finish()
        os._exit(0)
    os.waitpid(child, 0)
    run.log({"loss": 2.0}, step=1)
    run.finish()
    assert [point.step for point in directory(run).losses()] == [1]


def test_an_error_ends_a_run_as_failed_and_a_stop_leaves_it(tmp_path: Path) -> None:
    def stopped(run: astraios.track.Run, step: int, error: BaseException) -> None:
        with run:
            run.log({"loss": 1.0}, step=step)
            raise error

    with pytest.raises(ValueError, match="diverged"):
        stopped(astraios.init(**KNOWN, out=tmp_path, id="a"), 1, ValueError("diverged"))
    with pytest.raises(KeyboardInterrupt):
        stopped(astraios.init(**KNOWN, out=tmp_path, id="b"), 5, KeyboardInterrupt())
    found = {row.run_id: row for row in standings(tmp_path)}
    assert (found["a"].state, found["a"].reason) == ("failed", "ValueError: diverged")
    assert (found["b"].state, found["b"].step) == ("interrupted", 5)
    with astraios.init(**KNOWN, out=tmp_path, id="a") as run:
        run.log({"loss": 1.0})
    assert [attempt["state"] for attempt in directory(run).attempts()] == ["failed", "done"]


def test_a_run_goes_on_under_its_id(tmp_path: Path) -> None:
    first = astraios.init(**KNOWN, out=tmp_path, id="mine")
    for step in (10, 20, 30):
        first.log({"loss": 3.0 - step / 10, "eval/loss": 1.0, "norm": 1.0}, step=step)
    with pytest.raises(StoreError, match="in the hands of another"):
        reopen("mine", tmp_path, wait=0)
    first._forget()  # As if the process had gone.
    with pytest.raises(UsageError, match="has seed 0, not 1"):
        astraios.init(**{**KNOWN, "seed": 1}, out=tmp_path, id="mine")
    with astraios.init(**KNOWN, out=tmp_path, id="mine") as second:
        second.log({"loss": 9.0}, step=20)  # From a checkpoint before: what came after 20 is another branch.
        second.log({"loss": 8.0}, step=25)
    found = directory(second)
    assert [(p.split, p.step, p.loss_nats) for p in found.losses()] == [
        ("batch", 10, 2.0), ("batch", 20, 9.0), ("batch", 25, 8.0), ("test", 10, 1.0), ("test", 20, 1.0),
    ]  # fmt: skip
    assert [attempt["attempt"] for attempt in found.attempts()] == [1]
    with pytest.raises(UsageError, match="run mine is finished"):
        astraios.init(**KNOWN, out=tmp_path, id="mine")
    third = astraios.init(**KNOWN, out=tmp_path, id="mine", resume="allow")
    third.finish()


def test_the_interrupted_run_of_the_same_facts_is_found(tmp_path: Path) -> None:
    facts = {**KNOWN, "out": tmp_path, "config": {"a": 1}}
    run = astraios.init(**facts)
    run.log({"loss": 1.0}, step=4)
    run._forget()
    other = astraios.init(**{**facts, "config": {"a": 2}}, resume="auto")
    assert other.id != run.id
    other.finish()
    again = astraios.init(**facts, resume="auto")
    assert again.id == run.id
    beside = astraios.init(**facts, resume="auto")
    assert beside.id != run.id, "what another process has in hand is not interrupted"
    beside.finish()
    again.finish()
    assert astraios.init(**facts, resume="auto").id != run.id


def test_an_interrupted_run_is_closed_by_a_verb(tmp_path: Path) -> None:
    run = astraios.init(**KNOWN, out=tmp_path, id="x", steps=100)
    run.log({"eval/loss": 1.0}, step=40, tokens=400)
    assert_one_line(run_cli("finish", "x", "--out", tmp_path), 1, "run x is in the hands of another")
    run._forget()
    result = run_cli("finish", "x", "--out", tmp_path, "--json")
    assert json.loads(result.stdout) == [
        {"run_id": "x", "state": "done", "step": 40, "planned_steps": 100, "n_points": 1}
    ]
    manifest = RunDirectory(tmp_path / "x").manifest()
    assert manifest is not None
    assert (manifest["rows"]["run"]["steps"], manifest["rows"]["run"]["n_tokens"]) == (40, 400)
    assert_one_line(run_cli("finish", "y", "--out", tmp_path), 2, "run y is not there")
    assert_one_line(run_cli("finish", "../x", "--out", tmp_path), 2, "letters, digits")


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    before, soft = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    run = astraios.init(**KNOWN, out=tmp_path)
    try:
        for step in range(1, 6):
            run.log({"loss": 1.0 / step, "norm": 1.0}, step=step)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, soft[1]))
        refused = []
        for step in range(6, 4000):  # Past the room that is reserved.
            try:
                run.log({"loss": 1.0 / step, "norm": 1.0}, step=step)
            except StoreError as error:
                refused.append(str(error))
        assert len(refused) > 5
        assert all("kept and written with the next call" in line for line in refused)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
        signal.signal(signal.SIGXFSZ, before)
    run.finish()
    assert [(p.step, p.loss_nats) for p in directory(run).losses()] == [(s, 1.0 / s) for s in range(1, 4000)]
    assert [m.step for m in directory(run).metrics()] == list(range(1, 4000))


def test_threads_log_at_once_and_finish_loses_nothing(tmp_path: Path) -> None:
    run = astraios.init(**KNOWN, out=tmp_path)
    run.log({"loss": 1.0}, step=0, tokens=0)
    kept: list[list[int]] = [[] for _ in range(4)]

    def train(number: int) -> None:
        for step in range(1 + number, 10**9, 4):
            try:
                run.log({"loss": 1.0 / step}, step=step, tokens=8 * step)
            except UsageError:
                return
            kept[number].append(step)

    threads = [threading.Thread(target=train, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    while sum(map(len, kept)) < 8_000:
        time.sleep(0.01)
    run.finish()
    for thread in threads:
        thread.join()
    found = directory(run).losses()
    assert [point.step for point in found] == sorted([0, *(step for one in kept for step in one)])
    assert all((p.loss_nats, p.n_tokens) == (1.0 / p.step, 8 * p.step) for p in found if p.step)
    assert pq.read_metadata(tmp_path / run.id / "losses.parquet").num_rows == len(found), "what was acknowledged"
    lines = read_lines((tmp_path / run.id / "losses.jsonl").read_bytes())
    assert len(lines) == len(found), "each once"


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    fsspec = pytest.importorskip("fsspec.implementations.memory")
    monkeypatch.setenv("ASTRAIOS_CACHE", str(tmp_path))
    fsspec.MemoryFileSystem.store.clear()
    yield "memory://lab/runs"
    fsspec.MemoryFileSystem.store.clear()


def test_what_flush_returned_for_is_on_object_storage(memory: str) -> None:
    from astraios.runs.place import Place

    run = astraios.init(**KNOWN, out=memory, id="far")
    run.log({"loss": 2.0}, step=1)
    files = Place(memory).files
    assert b"2.0" not in b"".join(files.cat(f) for f in files.find("/lab/runs/far") if f.endswith("losses.jsonl"))
    run.flush()
    assert b'"loss_nats":2.0' in files.cat("/lab/runs/far/losses.jsonl")
    run._forget()
    closed = reopen("far", memory)
    closed.finish()
    assert json.loads(files.cat("/lab/runs/far/manifest.json"))["state"] == "done"


SCRIPT = """
import astraios, sys
run = astraios.init(model="m", method="lora", n_params=10, out=sys.argv[1], id="r", steps={steps})
run.log({{"loss": 1.0}}, step=5)
{ending}
"""


@pytest.mark.parametrize(
    ("steps", "ending", "state"),
    [(5, "", "done"), (None, "", "done"), (10, "", "interrupted"), (5, "raise SystemError('x')", "interrupted")],
)
def test_a_script_that_ends_without_finish(tmp_path: Path, steps: int | None, ending: str, state: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(steps=steps, ending=ending), str(tmp_path)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert [row.state for row in standings(tmp_path)] == [state], result.stderr
    assert ("astraios finish r --out" in result.stderr) == (state == "interrupted")


@pytest.mark.parametrize(
    ("processes", "kills"),
    [pytest.param(2, 6), pytest.param(8, 100, marks=[pytest.mark.slow])],
)
@pytest.mark.promise("What a tracker's log returned for is there after kills")
def test_every_acknowledged_point_survives_kills(tmp_path: Path, processes: int, kills: int) -> None:
    out = tmp_path / "runs"
    names = [f"run-{i}" for i in range(processes)]

    def begin(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.track.logging_process", str(out), name, str(tmp_path / f"{name}.told")]
        return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)

    alive = {name: begin(name) for name in names}
    for kill in range(kills):
        name = names[kill % processes]
        stdout = alive[name].stdout
        assert stdout is not None
        assert stdout.readline() == "begun\n"
        time.sleep(0.02 * (kill % 7))
        alive[name].kill()
        alive[name].wait()
        stdout.close()
        if kill < kills - processes:
            alive[name] = begin(name)
    for name in names:
        [last] = struct.unpack("<q", (tmp_path / f"{name}.told").read_bytes())
        steps = [line["step"] for line in read_lines((out / name / "losses.jsonl").read_bytes()) if "step" in line]
        assert last > 0
        assert set(range(1, last + 1)) <= set(steps)
        found = RunDirectory(out / name)
        expected = [LossPoint("batch", s, 64 * s, 1.0 + 1.0 / s, None, 1e-3 / s) for s in range(1, max(steps) + 1)]
        assert found.losses() == expected, "none lost, none twice"
        assert [m.step for m in found.metrics() if m.step <= last] == list(range(1, last + 1))
    result = run_cli("finish", *names, "--out", out)
    assert result.returncode == 0, result.stderr
