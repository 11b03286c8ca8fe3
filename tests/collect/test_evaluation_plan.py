"""The paper's study from one command: tasks, gold data, samples, hours and money before it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from astraios import store
from astraios.collect.plan.evaluation import Rate, TaskPlan, lacking, task_plans, without
from astraios.collect.plan.sweep import Sweep
from astraios.collect.run import plan
from astraios.errors import UsageError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks._gold import Gold, GoldState
from tests.conftest import run_cli, sweep_toml

PAPER = ("devign", "devign@1", "bigclonebench", "bigclonebench@1", "humaneval", "aatk")
ROW = {"task_id": "HumanEval/0", "prompt": "def f():\n", "entry_point": "f", "test": "def check(f):\n    pass\n"}


def gold(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "humaneval_nominal.jsonl").write_text(json.dumps(ROW) + "\n")
    return folder


@pytest.mark.promise("the paper's study is planned whole: cells, tasks, gold data, samples, hours, money")
def test_the_paper_is_planned_whole(tmp_path: Path) -> None:
    command = ("collect", "astraios", "--dry-run", "--data", gold(tmp_path / "gold"), "--db", tmp_path / "a.duckdb",
               "--out", tmp_path / "runs", "--device-memory", 80, "--devices", 8, "--price", 2)  # fmt: skip
    told = run_cli(*command, "--json")
    assert told.returncode == 0, told.stderr
    rows = json.loads(told.stdout)
    assert len(rows) == 28
    for row in rows:
        tasks = {task["task"]: task for task in row["tasks"]}
        assert len(tasks) == 16
        assert set(PAPER) <= set(tasks)
        assert tasks["humaneval"]["gold"] == "present"
        assert tasks["recode-format"]["gold"] == "missing"
        assert "amazon-science/recode" in tasks["recode-format"]["where"]
        assert "recode_format.jsonl" in tasks["recode-format"]["where"]
        assert tasks["bigclonebench"]["gold"] == "on the hub"
        assert tasks["humanevalfix-java"]["n_samples"] == 164 * 20
        assert tasks["humanevalexplain-python"]["n_samples"] == 2 * 164 * 20
        hours = [task["device_hours"] for task in tasks.values()]
        assert row["evaluation_hours"] == pytest.approx(sum(hours))
        assert row["evaluation_price"] == pytest.approx(2 * row["evaluation_hours"])
    by_size = {row["n_params"]: row["evaluation_hours"] for row in rows}
    assert sorted(by_size.values()) == [by_size[n] for n in sorted(by_size)], "larger models take longer"
    words = run_cli(*command)
    assert "no GPU was measured here" in words.stderr
    assert "recode-format: gold data missing, so it will not be scored: put recode_format.jsonl" in words.stderr
    assert "for 1,4" in words.stderr, "samples of all cells"


def test_measured_samples_go_before_assumptions() -> None:
    sweep = Sweep.from_toml('extends = "tiny"\ntasks = ["humaneval"]\nmodels = ["tiny/66k"]\nmethods = ["lora"]', "x")
    [cell], [task] = plan(sweep, []), task_plans(sweep)
    assert task.hours(cell, {}) is None, "a CPU of which nothing was measured"
    rates = {("humaneval", 0): [Rate(cell.count.n_params // 2, 3.0)]}
    assert task.hours(cell, rates) == pytest.approx(164 * 3 * 2 / 3600)


@pytest.mark.promise("what lacks gold data is said and left out; the rest is trained and scored")
def test_a_task_without_gold_data_is_left_out_and_scored_later(
    small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    file, db = tmp_path / "s.toml", tmp_path / "a.duckdb"
    text = sweep_toml(small_models[:1], pairs_file, methods=["lora"], tasks=["next-token", "humaneval"])
    file.write_text(f"{text}\n[task]\ndata_dir = {json.dumps(str(tmp_path / 'gold'))}\nworkers = 1\n")
    (tmp_path / "gold").mkdir()
    command = ("collect", file, "--db", db, "--out", tmp_path / "runs")
    first = run_cli(*command)
    assert first.returncode == 0, first.stderr
    assert "not scored on humaneval: " in first.stderr
    assert "no humaneval_nominal.jsonl.gz there" in first.stderr
    assert store.query(db, "select distinct task_id from score")["task_id"].to_list() == ["next-token"]
    gold(tmp_path / "gold")
    assert "to be scored on humaneval" in run_cli(*command, "--dry-run").stdout.replace("\n", "")
    second = run_cli(*command, "--json")
    assert json.loads(second.stdout)["not_scored"] == {}
    assert set(store.query(db, "select distinct task_id from score")["task_id"]) == {"next-token", "humaneval"}


def test_gold_data_say_where_they_are(tmp_path: Path) -> None:
    here = Gold(name="humaneval_nominal", fields=("task_id",), way="of ReCode")
    assert here.state(ScoreOptions(data_dir=gold(tmp_path / "g"))) == GoldState(
        name="humaneval_nominal", state="present", where=str(tmp_path / "g" / "humaneval_nominal.jsonl")
    )
    assert here.state(ScoreOptions()).state == "missing"
    assert "put humaneval_nominal.jsonl into" in here.state(ScoreOptions()).where
    far = Gold(name="x", fields=(), hub="nobody/nothing:data/x-*.parquet")
    assert (far.state(ScoreOptions()).state, far.state(ScoreOptions()).where) == ("on the hub", far.hub)


def test_a_sweep_over_other_bases_and_data_takes_over_what_fits() -> None:
    """`extends` with another source or other models leaves out what belongs to the old ones."""
    sweep = Sweep.from_toml('extends = "astraios"\nmodels = ["tiny/66k"]\n[data]\nsource = "python-stdlib"', "x")
    assert "id" not in sweep.data.options
    assert not any(isinstance(value, dict) for value in sweep.method["fft"].values()), "7B and 16B are not there"
    assert sweep.data.prompt_format.startswith("Question: ")
    small = Sweep.read("astraios_tiny")
    assert small.tasks == Sweep.read("astraios").tasks
    assert len(small.cells()) == 35
    with pytest.raises(UsageError, match="no base model of this sweep"):
        Sweep.from_toml('extends = "tiny"\n[method.fft."7B"]\nprocesses = 2', "x")


def test_lacking_tasks_leave_the_cells(tmp_path: Path) -> None:
    text = 'extends = "tiny"\nmodels = ["tiny/66k"]\ntasks = ["recode-format", "humaneval"]\n[task]\n'
    sweep = Sweep.from_toml(f'{text}data_dir = "{gold(tmp_path)}"', "x")
    missing = lacking(sweep)
    assert list(missing) == ["recode-format"]
    assert all(p.cell.tasks == ("humaneval",) for p in without(plan(sweep, []), missing))
    assert isinstance(task_plans(sweep)[0], TaskPlan)
