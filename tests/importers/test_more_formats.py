"""Formats that were added later: each from a small file in its tool's form, with the numbers that it holds."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from astraios import store
from astraios.importers.every_eval_ever import document
from tests.conftest import assert_one_line, run_cli
from tests.importers.conftest import take

SIZED = ("--set", "n_params=1M")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def imported(db: Path, source: object, *options: str) -> None:
    result = run_cli("import", source, "--db", db, *options)
    assert result.returncode == 0, result.stderr


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(store.query(db, sql).rows())


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def test_evalplus(db: Path, tmp_path: Path) -> None:
    def sample(base: str, plus: str) -> dict[str, str]:
        return {"task_id": "x", "solution": "", "base_status": base, "plus_status": plus}

    content = {"date": "2026", "hash": "h", "eval": {
        "HumanEval/0": [sample("pass", "pass"), sample("pass", "fail")],
        "HumanEval/1": [sample("fail", "fail"), sample("fail", "fail")],
    }}  # fmt: skip
    imported(db, write(tmp_path / "humaneval" / "acme--m_vllm_temp_0.0_eval_results.json", content), *SIZED)
    assert rows(db, "select task_id, metric, value from score order by all") == [
        ("humaneval", "pass@1", 0.5), ("humaneval+", "pass@1", 0.25),
    ]  # fmt: skip
    assert rows(db, "select count(*), sum(value) from sample_score") == [(8, 3.0)]
    assert rows(db, "select model_id from run") == [("acme/m",)]


def test_helm(db: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "v1" / "mmlu:subject=anatomy,model=acme_m"
    write(
        folder / "run_spec.json", {"name": folder.name, "adapter_spec": {"model": "acme/m", "max_train_instances": 5}}
    )
    stats = [
        {"name": {"name": "exact_match", "split": "test"}, "count": 1, "sum": 0.4, "mean": 0.4},
        {"name": {"name": "exact_match", "split": "test", "perturbation": {"name": "typos"}}, "mean": 0.1},
        {"name": {"name": "exact_match", "split": "valid"}, "mean": 0.9},
        {"name": {"name": "num_instances", "split": "test"}, "mean": 135.0},
    ]
    write(folder / "stats.json", stats)
    imported(db, tmp_path / "runs", *SIZED)
    assert rows(db, "select task_id, n_shot, metric, value, n from score") == [
        ("mmlu:subject=anatomy", 5, "exact_match", 0.4, 135)
    ]


def test_every_eval_ever_comes_back(db: Path, tmp_path: Path) -> None:
    run = {"run_id": "r1", "model_id": "acme/m", "method_id": "lora", "n_params": 1000, "n_trainable": 10,
           "n_tokens": 500, "train_flops": 3e9}  # fmt: skip
    scores = [
        {"task_id": "arc", "metric": "acc", "n_shot": 5, "value": 0.25, "stderr": 0.01, "n": 100},
        {"task_id": "wiki", "metric": "ppl", "n_shot": 0, "value": 12.5, "higher_is_better": False},
    ]
    imported(db, write(tmp_path / "e.json", document(run, scores, "1764000000")))
    found = rows(db, "select s.task_id, s.metric, n_shot, value, stderr, n, higher_is_better from score s "
                     "join task using (task_id) order by 1")  # fmt: skip
    assert found == [("arc", "acc", 5, 0.25, 0.01, 100, True), ("wiki", "ppl", 0, 12.5, None, None, False)]
    facts = rows(db, "select model_id, method_id, n_params, n_trainable, n_tokens, train_flops from run")
    assert facts == [("acme/m", "lora", 1000, 10, 500, 3e9)]


def test_a_data_set_of_the_hub_is_read_by_a_connection_without_a_database(db: Path, tmp_path: Path) -> None:
    from astraios.importers.hub import fetch

    pl.DataFrame({"n_params": [10**6, 2 * 10**6], "loss": [3.5, 3.2]}).write_parquet(tmp_path / "data.parquet")
    fetch(str(tmp_path / "data.parquet"), tmp_path / "copy.parquet")
    imported(db, tmp_path / "copy.parquet")
    assert rows(db, "select n_params, last_loss from run join loss_summary using (run_id) order by 1") == [
        (10**6, 3.5), (2 * 10**6, 3.2),
    ]  # fmt: skip
    assert_one_line(run_cli("import", "hf://datasets/a/b/c.xlsx", "--db", db), 1, "name a Parquet, CSV or JSON file")


def test_runs_on_a_server_are_read_by_the_tools_client(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that answers as the tool's does: recorded from one run each."""
    history = [{"_step": step, "eval/loss": 4.0 - step, "train/loss": 4.5 - step} for step in range(3)]
    run = types.SimpleNamespace(
        id="abc", entity="lab", project="ladder", name="lora-1", tags=["x"], created_at="2026-01-05T12:00:00",
        config={"n_params": 10**6, "method": "lora", "seed": 3}, scan_history=lambda: iter(history),
    )  # fmt: skip
    api = types.SimpleNamespace(runs=lambda path: [run], run=lambda path: run)
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(Api=lambda: api))
    imported(db, "wandb://lab/ladder")
    imported(db, "wandb://lab/ladder/abc")
    assert rows(
        db, "select method_id, seed, last_loss from run join loss_summary using (run_id) where split = 'test'"
    ) == [("lora", 3, 2.0)]
    points = [types.SimpleNamespace(step=step, value=3.0 - step, timestamp=step) for step in range(2)]
    info = types.SimpleNamespace(run_id="f00", run_name="ia3-1", status="FINISHED", start_time=1, end_time=2)
    data = types.SimpleNamespace(metrics={"eval_loss": 2.0}, params={"n_params": "1000000", "method": "ia3"}, tags={})
    client = types.SimpleNamespace(
        search_experiments=lambda: [types.SimpleNamespace(experiment_id="0", name="ladder")],
        search_runs=lambda ids, max_results: [types.SimpleNamespace(info=info, data=data)],
        get_metric_history=lambda run_id, name: points,
    )
    tracking = types.SimpleNamespace(MlflowClient=lambda tracking_uri: client)
    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(tracking=tracking))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    imported(db, "mlflow:http://127.0.0.1:1")
    assert rows(db, "select last_loss from run join loss_summary using (run_id) where method_id = 'ia3'") == [(2.0,)]


@pytest.mark.promise("what is exported comes back")
def test_scores_go_out_as_every_eval_ever_and_come_back(tmp_path: Path) -> None:
    """By one command each: values, shots, directions and sizes; into the same database nothing changes."""
    table = tmp_path / "scores.csv"
    table.write_text(
        "run,model,method,n_params,n_trainable,task,metric,value,stderr,n,n_shot\n"
        "a,acme/m,lora,1000000,512,arc,acc,0.25,0.01,100,5\na,acme/m,lora,1000000,512,wiki,perplexity,12.5,,,0\n"
        "b,../../etc,fft,2000000,2000000,arc,acc,0.5,0.01,100,5\n"
    )
    first, second, out = tmp_path / "a.duckdb", tmp_path / "b.duckdb", tmp_path / "shared"
    take(table, first)
    assert run_cli("export", out, "--format", "every-eval-ever", "--db", first).returncode == 0
    assert len(list(out.rglob("*.json"))) == 2, "nothing is written elsewhere"
    take(out, second)
    sql = (
        "select model_id, method_id, n_params, n_trainable, task_id, n_shot, s.metric, value, stderr, n, "
        "higher_is_better from score s join run using (run_id) join task using (task_id) order by all"
    )
    found = rows(first, sql)
    assert len(found) == 3
    assert rows(second, sql) == found
    take(out, first)
    assert rows(first, sql) == found
    assert rows(first, "select count(*) from run") == [(2,)]
    assert_one_line(run_cli("export", out, "--format", "every-eval-ever", "--db", first), 1, "holds other files")
