"""From a sweep to a database: planning, running, skipping, resuming, failing."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from astraios import store
from astraios.collect.cell.run import run_cell
from astraios.collect.plan.sweep import Cell, Sweep
from astraios.runs.directory import RunDirectory
from tests.conftest import REPOSITORY, run_cli, sweep_toml

pytest.importorskip("torch")


def cells_of(path: Path) -> list[Cell]:
    return Sweep.read(str(path)).cells()


def losses(directory: RunDirectory) -> list[tuple[str, int, float]]:
    return [(p.split, p.step, p.loss_nats) for p in directory.losses()]


@pytest.mark.promise("the demo's numbers make sense")
def test_a_sweep_fills_the_database(small_sweep: Path, tmp_path: Path) -> None:
    db, out = tmp_path / "a.duckdb", tmp_path / "runs"
    result = run_cli("collect", small_sweep, "--db", db, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "6 cells: 6 run now, 0 done before, 0 failed" in result.stderr
    rows = store.query(db, "select method_id, n_params, n_trainable, loss_nats from final_loss where split = 'test'")
    assert len(rows) == 6
    assert set(rows["method_id"]) == {"fft", "lora"}
    assert rows["n_params"].n_unique() == 3
    full = rows.filter(pl.col("method_id") == "fft")
    assert (full["n_params"] == full["n_trainable"]).all()
    curve = store.query(db, "select * from loss_curve where split = 'test'")
    assert sorted(curve["step"].unique()) == [0, 2, 4, 6]
    first, last = (curve.filter(pl.col("step") == step)["loss_nats"].mean() for step in (0, 6))
    assert last < first
    scores = store.query(db, "select * from final_score where task_id = 'next-token' and metric = 'accuracy'")
    assert len(scores) == 6
    assert scores["value"].is_between(0, 1).all()
    assert store.failed_checks(db) == {}

    again = run_cli("collect", small_sweep, "--db", db, "--out", out)
    assert "6 cells: 0 run now, 6 done before, 0 failed" in again.stderr
    assert store.query(db, "select count(*) as n from loss_point")["n"][0] == 6 * (4 + 4 + 3)

    rebuilt = tmp_path / "b.duckdb"
    store.ingest(rebuilt, out)
    # The number under which an attempt's losses lie follows the order of arrival, and means nothing else.
    columns = {"attempt": "* exclude (load_key)", "loss_point": "* exclude (load_key)"}
    for table in ("run", "attempt", "loss_point", "loss_summary", "score", "sample_score", "evaluation", "task"):
        rows_of = [
            store.query(path, f"select {columns.get(table, '*')} from {table}").sort(pl.all())
            if table != "run"
            else store.query(path, "select * from run order by run_id")
            for path in (db, rebuilt)
        ]
        assert rows_of[0].equals(rows_of[1]), table


def test_the_plan_names_what_will_be_run(small_sweep: Path) -> None:
    result = run_cli("collect", small_sweep, "--dry-run", "--json")
    rows = json.loads(result.stdout)
    assert len(rows) == 6
    for row in rows:
        assert row["steps"] == 6
        assert row["n_tokens"] == 6 * 2 * 128
        assert row["train_flops"] > 4 * row["n_params_nonembedding"] * row["n_tokens"]
        assert (row["n_trainable"] == row["n_params"]) == (row["method_id"] == "fft")
    assert len({row["run_id"] for row in rows}) == 6
    assert run_cli("collect", small_sweep, "--dry-run").stdout.count("lora") == 3


def test_the_same_request_is_the_same_run(small_sweep: Path, small_models: list[str], pairs_file: Path) -> None:
    cells = cells_of(small_sweep)
    same = Sweep.from_toml(sweep_toml(small_models, pairs_file, tasks=["mutant"], workers=1), "x").cells()
    assert [c.run_id for c in same] == [c.run_id for c in cells], "tasks and workers don't change a run"
    other = Sweep.from_toml(sweep_toml(small_models, pairs_file, seeds=[1], steps=6), "x").cells()
    assert not {c.run_id for c in other} & {c.run_id for c in cells}
    assert all(Cell.from_json(c.to_json()) == c for c in cells)
    changed = pairs_file.with_name("other.jsonl")
    changed.write_text(pairs_file.read_text().replace("Add 1 ", "Plus 1 "))
    assert Sweep.from_toml(sweep_toml(small_models, changed), "x").cells()[0].run_id != cells[0].run_id
    moved = pairs_file.with_name("moved.jsonl")
    moved.write_text(pairs_file.read_text())
    assert Sweep.from_toml(sweep_toml(small_models, moved), "x").cells()[0].run_id == cells[0].run_id


def test_a_sweep_that_extends_another_says_only_what_differs() -> None:
    tiny = {c.run_id for c in Sweep.read("tiny").cells(["model_id=tiny/66k"])}
    seeds = Sweep.read("tiny_seeds")
    assert {c.run_id for c in seeds.cells(["model_id=tiny/66k"])} == tiny
    assert len({c.run_id for c in seeds.cells()}) == 12 * 7
    changed = Sweep.from_toml('extends = "tiny"\nname = "x"\n[method.lora]\nrank = 4', "x")
    lora = changed.cells(["model_id=tiny/66k", "method_id=lora"])[0]
    assert lora.settings["rank"] == 4
    assert lora.train.learning_rate == 1e-2, "the rest of the table stays"


@pytest.mark.parametrize("method_id", ["fft", "lora", "ptuning"])
def test_resume_equals_no_interruption(small_sweep: Path, tmp_path: Path, method_id: str) -> None:
    sweep = Sweep.read(str(small_sweep))
    lora = next(c for c in sweep.cells() if c.method_id == "lora")
    cell = lora
    if method_id != "lora":
        from astraios.models.methods import METHODS

        cell = dataclasses.replace(lora, method_id=method_id, settings=METHODS.get(method_id).with_defaults({}))
    whole = RunDirectory(tmp_path / "whole" / cell.run_id)
    run_cell(cell, sweep.to_json(), tmp_path / "whole", device="cpu")

    def stop_at_five(stage: str, done: int, total: int) -> None:
        if stage == "training" and done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, sweep.to_json(), tmp_path / "cut", stop_at_five, device="cpu")
    cut = RunDirectory(tmp_path / "cut" / cell.run_id)
    assert cut.manifest() is None
    assert cut.checkpoint_path.is_file()
    run_cell(cell, sweep.to_json(), tmp_path / "cut", device="cpu")
    assert losses(cut) == losses(whole), "the same losses, bit for bit"
    assert [a["attempt"] for a in cut.attempts()] == [1]
    assert not cut.checkpoint_path.exists()


def test_a_new_task_is_scored_without_training_again(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"])
    sweep = Sweep.from_toml(text, "x")
    [cell] = sweep.cells()
    out = tmp_path / "runs"
    run_cell(cell, sweep.to_json(), out, device="cpu")
    directory = RunDirectory(out / cell.run_id)
    before = (directory.path / "losses.jsonl").read_bytes()
    more = Sweep.from_toml(text.replace('["next-token"]', '["next-token", "mutant"]'), "x")
    assert not directory.is_done(more.cells()[0].asked)
    run_cell(more.cells()[0], more.to_json(), out, device="cpu")
    assert directory.is_done(more.cells()[0].asked)
    assert (directory.path / "losses.jsonl").read_bytes() == before, "nothing was trained again"
    db = tmp_path / "a.duckdb"
    store.ingest(db, out)
    assert store.query(db, "select count(distinct task_id) as n from score")["n"][0] == 2
    assert store.failed_checks(db) == {}


@pytest.mark.promise("trials never stand in the way of the evaluation that counts")
def test_a_trial_in_a_sweep_is_not_the_evaluation_itself(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    """Scored with a limit, a cell is not done without one; what other sweeps had it scored on stays."""
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"])
    trial = Sweep.from_toml(text + "[task]\nlimit = 3\n", "x")
    whole = Sweep.from_toml(text.replace('["next-token"]', '["mutant", "next-token"]'), "x")
    alone = Sweep.from_toml(text.replace('["next-token"]', '["mutant"]') + "[task.mutant]\nlimit = 2\n", "x")
    [one], [two], [three] = trial.cells(), whole.cells(), alone.cells()
    assert one.run_id == two.run_id == three.run_id
    directory = RunDirectory(tmp_path / one.run_id)
    run_cell(one, trial.to_json(), tmp_path, device="cpu")
    assert (directory.is_done(one.asked), directory.is_done(two.asked)) == (True, False)
    run_cell(two, whole.to_json(), tmp_path, device="cpu")
    assert (directory.is_done(one.asked), directory.is_done(two.asked)) == (False, True)
    run_cell(three, alone.to_json(), tmp_path, device="cpu")
    rows = directory.manifest()["rows"]["evaluations"]
    assert sorted(row["task_id"] for row in rows) == ["mutant", "next-token"]
    store.ingest(tmp_path / "a.duckdb", tmp_path)
    assert store.query(tmp_path / "a.duckdb", "select count(distinct task_id) as n from score")["n"][0] == 2


def test_a_failing_cell_is_recorded_and_the_others_go_on(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    text = sweep_toml(small_models[:1], pairs_file).replace("learning_rate = 5e-3", "learning_rate = 1e30")
    path = tmp_path / "s.toml"
    path.write_text(text)
    db, out = tmp_path / "a.duckdb", tmp_path / "runs"
    result = run_cli("collect", path, "--db", db, "--out", out)
    assert result.returncode == 1
    assert "2 cells: 1 run now, 0 done before, 1 failed" in result.stderr
    assert "lower the learning rate" in result.stderr
    rows = store.query(db, "select state, error from attempt order by state")
    assert rows["state"].to_list() == ["done", "failed"]
    assert "lower the learning rate" in rows["error"][1]
    assert len(store.query(db, "from final_loss where split = 'test'")) == 1
    again = run_cli("collect", path, "--db", db, "--out", out)
    assert "2 cells: 0 run now, 1 done before, 1 failed" in again.stderr
    assert store.query(db, "select max(attempt) as n from attempt")["n"][0] == 2
    status = {row["method_id"]: row for row in json.loads(run_cli("status", path, "--out", out, "--json").stdout)}
    assert status["fft"]["state"] == "failed"
    assert "learning rate" in status["fft"]["reason"]
    assert status["lora"]["state"] == "done"


def start_collect(sweep: Path, db: Path, out: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "astraios.cli", "collect", str(sweep), "--db", str(db), "--out", str(out)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finished(out: Path) -> dict[str, bytes]:
    """Content of the files of the runs that are done, by path."""
    done = [p.parent for p in out.glob("*/manifest.json")]
    return {
        str(f): f.read_bytes() for d in done for f in (d / "losses.jsonl", d / "attempts.jsonl", d / "manifest.json")
    }


def kill_and_go_on(small_models: list[str], pairs_file: Path, tmp_path: Path, n_kills: int) -> None:
    path = tmp_path / "s.toml"
    path.write_text(sweep_toml(small_models, pairs_file, steps=60, seeds=[0, 1]))
    db, out = tmp_path / "a.duckdb", tmp_path / "runs"
    rng = random.Random(0)
    kept: dict[str, bytes] = {}
    kills = 0
    # Time from the start to the first finished cell, so that kills fall into training rather than imports.
    started = time.monotonic()
    process = start_collect(path, db, out)
    while process.poll() is None and not any(out.glob("*/losses.jsonl")):
        time.sleep(0.05)
    warm_up = time.monotonic() - started
    while kills < n_kills:
        time.sleep(rng.uniform(0.0, 1.5))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        kills += 1
        for name, content in kept.items():
            assert Path(name).read_bytes() == content, "a finished cell was touched"
        kept |= finished(out)
        if db.exists():
            assert store.query(db, "select count(*) as n from run")["n"][0] <= 12
            assert store.failed_checks(db) == {}
        process = start_collect(path, db, out)
        time.sleep(rng.uniform(0.3, 1.0) * warm_up)
    assert process.wait(timeout=300) in (0, 1)
    result = run_cli("collect", path, "--db", db, "--out", out)
    assert result.returncode == 0, result.stderr
    for name, content in kept.items():
        assert Path(name).read_bytes() == content, "a finished cell was trained again"
    assert len(store.query(db, "from final_loss where split = 'test'")) == 12
    n_points = store.query(db, "select count(*) as n, count(distinct (run_id, split, step)) as d from loss_point")
    assert n_points.row(0) == (12 * 3 * 31 - 12, 12 * 3 * 31 - 12), "nothing lost, nothing counted twice"
    assert store.query(db, "select max(attempt) as n from attempt")["n"][0] == 1
    assert store.failed_checks(db) == {}


@pytest.mark.promise("a killed sweep goes on where it stood")
def test_killed_twice_it_goes_on(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    kill_and_go_on(small_models, pairs_file, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.promise("a killed sweep goes on where it stood")
def test_killed_ten_times_it_goes_on(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    kill_and_go_on(small_models, pairs_file, tmp_path, 10)


def test_two_commands_do_not_share_a_cell(small_sweep: Path, tmp_path: Path) -> None:
    from astraios.errors import StoreError
    from astraios.files import exclusive

    with (
        exclusive(tmp_path / "lock", wait=0, what="run x"),
        pytest.raises(StoreError, match="run x is in the hands of another"),
        exclusive(tmp_path / "lock", wait=0.1, what="run x"),
    ):
        pass


def test_bad_data_is_named(tmp_path: Path, small_models: list[str], pairs_file: Path) -> None:
    def collect_with(rows: list[dict[str, Any]]) -> str:
        path = tmp_path / "pairs.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        sweep = tmp_path / "s.toml"
        sweep.write_text(sweep_toml(small_models[:1], path))
        result = run_cli("collect", sweep, "--db", tmp_path / "a.duckdb", "--out", tmp_path / "runs")
        assert result.returncode == 1
        return result.stderr

    assert "row 2: no column 'completion'; set [data] completion_column" in collect_with(
        [{"prompt": "a", "completion": "b"}, {"prompt": "a"}]
    )
    assert "row 1: empty answer" in collect_with([{"prompt": "a", "completion": " "}])
    (tmp_path / "pairs.jsonl").unlink()
    sweep = tmp_path / "gone.toml"
    sweep.write_text(sweep_toml(small_models[:1], tmp_path / "gone.jsonl"))
    assert "no data file" in run_cli("collect", sweep, "--out", tmp_path / "runs").stderr
