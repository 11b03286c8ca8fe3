"""Kinds of inputs that came out wrong once: each small, with the right value."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.errors import DataError
from astraios.importers._private import LEFT_OUT, clean
from astraios.workflow import ImportRequest, import_results
from tests.importers.conftest import take

PROMISE = "an import says what the runs really had"
LOSSES = "select coalesce(settings ->> 'name', run_id), split, last_step, last_loss from run join loss_summary "\
    "using (run_id) order by all"  # fmt: skip


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(store.query(db, sql).rows())


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


KERAS = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.1,4.0,0.1,4.2\n1,0.2,3.0,0.2,{last}\n"


@pytest.mark.promise(PROMISE)
def test_logs_of_keras_as_its_documents_call_them(db: Path, tmp_path: Path) -> None:
    """`training.log`, and of one name in two folders: two runs."""
    for place, last in enumerate((3.2, 3.3)):
        write(tmp_path / "runs" / str(place) / "training.log", KERAS.format(last=last))
    take(tmp_path / "runs", db, n_params="1M")
    assert rows(db, LOSSES) == [
        ("0/training", "batch", 1, 3.0), ("0/training", "test", 1, 3.2), ("1/training", "batch", 1, 3.0),
        ("1/training", "test", 1, 3.3),
    ]  # fmt: skip


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize("header", ["Run, N_Params ,Eval Loss,Train Loss", "run,n params,validation loss,train loss"])
def test_headers_with_spaces(header: str, db: Path, tmp_path: Path) -> None:
    take(write(tmp_path / "t.csv", f"{header}\na,1000,3.2,3.0\n"), db)
    assert rows(db, LOSSES) == [("a", "batch", 1, 3.0), ("a", "test", 1, 3.2)]


def test_sizes_with_a_decimal_comma(db: Path, tmp_path: Path) -> None:
    """In a table, and in a file of facts; a row of facts about no run is said."""
    take(write(tmp_path / "t.csv", "run;n_params;loss\na;1,1B;3,2\n"), db)
    assert rows(db, "select n_params from run") == [(1_100_000_000,)]
    state = {"global_step": 5, "log_history": [{"step": 5, "eval_loss": 2.5}]}
    write(tmp_path / "out" / "x" / "trainer_state.json", state)
    facts = write(tmp_path / "facts.csv", "\ufeffname;method;size;lr\nx;lora;1,3B;0,001\ny;lora;1B;0,1\n")
    told = import_results(db, str(tmp_path / "out"), ImportRequest(facts_file=facts))
    assert rows(db, "select method_id, learning_rate from run where n_params = 1300000000") == [("lora", 0.001)]
    assert told["skipped"]["facts.csv, facts"] == "about no run of the source: y"


def test_the_columns_that_pandas_writes(db: Path, tmp_path: Path) -> None:
    content = {"run": {"0": "a", "1": "b"}, "n_params": {"0": 1000, "1": 2000}, "loss": {"0": 3.2, "1": 3.1}}
    take(write(tmp_path / "t.json", content), db)
    assert rows(db, LOSSES) == [("a", "test", 1, 3.2), ("b", "test", 1, 3.1)]


@pytest.mark.promise("one run is one run, whoever logged it")
@pytest.mark.parametrize("as_folder", [True, False])
def test_losses_in_one_table_and_scores_in_another(as_folder: bool, db: Path, tmp_path: Path) -> None:
    """In one folder or named one by one: two runs, and they are counted as two."""
    files = [
        write(tmp_path / "t" / "losses.csv", "run,n_params,loss\na,1000,3.2\nb,2000,3.1\n"),
        write(tmp_path / "t" / "scores.csv", "run,n_params,task,metric,value\na,1000,t,acc,0.3\nb,2000,t,acc,0.4\n"),
    ]  # fmt: skip
    told = import_results(db, str(tmp_path / "t") if as_folder else list(map(str, files)), ImportRequest())
    assert rows(db, "select count(*) from run join loss_summary using (run_id) join score using (run_id)") == [(2,)]
    assert told["rows"]["run"] == told["rows"]["attempt"] == 2


@pytest.mark.promise("one bad item never refuses its siblings")
def test_damaged_samples_leave_the_scores(db: Path, tmp_path: Path) -> None:
    content = {
        "results": {"arc": {"acc,none": 0.4, "acc_stderr,none": 0.1}}, "configs": {}, "versions": {"arc": 1},
        "n-shot": {"arc": 0}, "date": 1.7e9,
        "config": {"model": "vllm", "model_args": "pretrained=x/y,enable_lora=True,max_lora_rank=64"},
    }  # fmt: skip
    write(tmp_path / "results_2025-01-01T00-00-00.000000.json", content)
    write(tmp_path / "samples_arc_2025-01-01T00-00-00.000000.jsonl", '{"doc_id": 0, "acc": 1.0}\n{"doc_id": 1, "ac')
    told = take(tmp_path, db, n_params="1M")
    assert rows(db, "select task_id, value from score") == [("arc", 0.4)]
    assert "line 2: not JSON" in told["skipped"]["samples_arc_2025-01-01T00-00-00.000000.jsonl"]


def test_the_unit_that_every_eval_ever_tells(db: Path, tmp_path: Path) -> None:
    config = {"lower_is_better": False, "score_type": "continuous", "min_score": 0, "max_score": 100}
    results = [{"evaluation_name": "mmlu", "metric_config": config, "score_details": {"score": 0.8}}]
    content = {"schema_version": "0.2.1", "model_info": {"id": "a/b", "name": "b"}, "evaluation_results": results}
    take(write(tmp_path / "e.json", content), db, n_params="1M")
    assert rows(db, "select value from score") == [(pytest.approx(0.008),)]


@pytest.mark.promise("files of strangers do no harm")
def test_pipes_are_not_read(db: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(DataError, match="pipes and devices are not read"):
        take(tmp_path / "t.csv", db)


@pytest.mark.promise("files of strangers do no harm")
@pytest.mark.parametrize(
    "text", ['["train.py", "--api-key", "abcd1234efgh"]', "['train.py', '--token', 'abcd1234efgh']"]
)
def test_a_command_line_in_a_text(text: str) -> None:
    assert clean({"command": text, "order": '["a", "b"]'}) == {"command": LEFT_OUT, "order": '["a", "b"]'}


@pytest.mark.promise("one bad item never refuses its siblings")
def test_counts_that_can_not_be(db: Path, tmp_path: Path) -> None:
    told = take(write(tmp_path / "t.csv", "run,n_params,loss\na,0,3.1\nb,-5,3.0\nc,1000,2.9\n"), db)
    assert rows(db, "select n_params from run") == [(1000,)]
    assert told["skipped"] == {
        "a": "n_params is 0: at least 1 was expected", "b": "n_params is -5: at least 1 was expected",
    }  # fmt: skip


@pytest.mark.promise(PROMISE)
def test_epochs_of_several_runs_are_their_steps(db: Path, tmp_path: Path) -> None:
    text = "run,epoch,n_params,val_loss\na,1,1000,3.2\na,2,1000,3.0\nb,1,2000,3.1\nb,2,2000,2.9\n"
    take(write(tmp_path / "t.csv", text), db)
    assert rows(db, LOSSES) == [("a", "test", 2, 3.0), ("b", "test", 2, 2.9)]
