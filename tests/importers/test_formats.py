"""Each importer on a file that its tool wrote: the numbers that were logged arrive, once, and nothing else.

What was logged stands in make_files.py, beside the code that had it written.
"""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from astraios import store
from tests.conftest import assert_one_line, run_cli
from tests.importers.conftest import FILES, content

Copy = Callable[[str], Path]
LOGGED = [(step, 4.0 - step / 50) for step in range(0, 50, 10)]
TRAINED = [(step, 4.2 - step / 50) for step in range(0, 50, 10)]
CORRECTED = [*LOGGED[:4], (40, 3.25), (50, math.nan), (60, math.inf)]
"""The run of seed 1: step 40 logged again, then what is no number."""


@dataclass(frozen=True)
class Case:
    """A source, and what must come of it."""

    source: str
    form: str
    options: tuple[str, ...] = ()
    rows: dict[str, int] = field(default_factory=dict)
    skipped: str = ""
    """Pattern that a reason matches."""


CASES = [
    Case("trainer", "trainer", (), {"run": 2, "loss_point": 12, "tuning_method": 2}, "mean over all of training"),
    Case("trainer/lora", "trainer", ("--set", "n_params=12208"), {"run": 1, "loss_point": 6}, "grad_norm"),
    Case("trainer/full/checkpoint-4/trainer_state.json", "trainer", ("--set", "n_params=1M"), {"loss_point": 3}),
    Case("wandb", "wandb", (), {"run": 2, "loss_point": 22}, "steps logged again.*1 earlier"),
    Case("mlflow/mlruns", "mlflow", (), {"run": 2, "loss_point": 22}, "eval_accuracy"),
    Case("mlflow/mlflow.db", "mlflow", (), {"run": 2, "loss_point": 22}, "steps logged again.*1 earlier"),
    Case("tensorboard", "tensorboard", ("--set", "n_params=59000"), {"run": 2, "loss_point": 22}, "steps logged again"),
    Case("lm_eval", "lm-eval", (), {"run": 1, "evaluation": 2, "score": 5, "sample_score": 12}, "acc_norm"),
    Case("inspect/facts.eval", "inspect", ("--set", "n_params=1B"), {"run": 1, "score": 2, "sample_score": 6}),
    Case("inspect/facts.json", "inspect", ("--set", "n_params=1B"), {"run": 1, "score": 2, "sample_score": 6}),
    Case("bigcode/evaluation_results.json", "bigcode", (), {"run": 1, "task": 2, "score": 3}),
    Case("peft", "peft-comparison", (), {"run": 1, "loss_point": 20, "score": 1}, "measured while training"),
]  # fmt: skip
all_cases = pytest.mark.parametrize("case", CASES, ids=lambda case: case.source)


@pytest.mark.promise("an import is whole or refused, and twice is once")
@all_cases
def test_imported_twice_the_second_time_changes_nothing(case: Case, source: Copy, tmp_path: Path) -> None:
    path, db = source(case.source), tmp_path / "a.duckdb"
    command = ("import", path, "--db", db, *case.options)
    dry = run_cli(*command, "--dry-run", "--json")
    assert dry.returncode == 0, dry.stderr
    assert not db.exists()
    first = run_cli(*command, "--json")
    told = json.loads(first.stdout)
    assert {name: told["rows"][name] for name in case.rows} == case.rows
    assert (told["format"], told["guessed"], told["dry_run"]) == (case.form, True, False)
    assert told["rows"] == json.loads(dry.stdout)["rows"]
    assert re.search(case.skipped, json.dumps(told["skipped"]))
    before = content(db)
    assert {name: len(before[name]) for name in case.rows} == case.rows
    second = run_cli(*command)
    assert second.returncode == 0, second.stderr
    assert f"format (guessed): {case.form}" in second.stderr
    assert content(db) == before
    assert store.failed_checks(db) == {}


def imported(path: Path, tmp_path: Path, *options: str) -> Path:
    db = tmp_path / "a.duckdb"
    result = run_cli("import", path, "--db", db, *options)
    assert result.returncode == 0, result.stderr
    return db


def losses(db: Path, method: str, split: str) -> list[tuple[int, float]]:
    sql = "select step, loss_nats from loss_curve where method_id = ? and split = ? order by step"
    return store.query(db, sql, [method, split]).rows()


def assert_same(found: list[tuple[int, float]], expected: list[tuple[int, float]], tolerance: float = 1e-12) -> None:
    assert [step for step, _ in found] == [step for step, _ in expected]
    assert [loss for _, loss in found] == pytest.approx([loss for _, loss in expected], abs=tolerance, nan_ok=True)


@pytest.mark.promise("an import is whole or refused, and twice is once")
@pytest.mark.parametrize("name", ["wandb", "mlflow/mlruns", "mlflow/mlflow.db"])
def test_trackers_give_what_was_logged(name: str, source: Copy, tmp_path: Path) -> None:
    db = imported(source(name), tmp_path)
    assert_same(losses(db, "lora", "test"), CORRECTED)
    assert_same(losses(db, "lora", "batch"), TRAINED)
    if name == "wandb":  # the second run defined no step metric: W&B counts its rows, two a round
        assert_same(losses(db, "ia3", "test"), [(step // 5 + 1, loss) for step, loss in LOGGED])
    else:
        assert_same(losses(db, "ia3", "test"), LOGGED)
    runs = store.query(db, "select model_id, method_id, n_params, seed, learning_rate, origin from run order by seed")
    assert runs.rows() == [
        ("tiny/32", "lora", 59_000, 1, 1e-3, "imported"),
        ("tiny/32", "ia3", 59_000, 2, 1e-3, "imported"),
    ]
    started = store.query(db, "select count(*) from attempt where started_at > timestamp '2026-01-01'")
    assert started.item() == 2


def test_a_metric_of_a_tracker_can_be_named_as_loss_or_score(source: Copy, tmp_path: Path) -> None:
    db = imported(source("wandb"), tmp_path, "--map", "train_loss=train/loss", "--map", "score:probe:acc=eval/accuracy")
    assert_same(losses(db, "lora", "train"), TRAINED)
    assert losses(db, "lora", "test") == []
    scores = store.query(db, "select task_id, metric, value from final_score where method_id = 'lora'").rows()
    assert scores == [("probe", "acc", 0.4)]
    assert_one_line(
        run_cli("import", source("tensorboard"), "--db", db, "--map", "loss=nothing", "--set", "n_params=1B"),
        2, "no metric 'nothing'; it has: eval/loss, train/loss",
    )  # fmt: skip


def test_the_step_of_a_history_can_be_chosen(source: Copy, tmp_path: Path) -> None:
    db = imported(source("wandb"), tmp_path, "--map", "step=train/grad_norm", "--map", "batch_loss=train/loss")
    assert_same(losses(db, "lora", "batch"), [(1, TRAINED[-1][1])])


def test_tensorboard_gives_what_was_logged_in_single_precision(source: Copy, tmp_path: Path) -> None:
    db = imported(source("tensorboard"), tmp_path, "--set", "n_params=59000", "--set", "method_id=lora")
    runs = store.query(db, "select distinct run_id from loss_point").rows()
    assert len(runs) == 2
    for (run,) in runs:
        sql = "select step, loss_nats from loss_point where run_id = ? and split = 'test' order by step"
        assert_same(store.query(db, sql, [run]).rows(), [*LOGGED[:4], (40, 3.25), (50, math.nan)], 1e-6)


def test_a_trainers_directory_tells_method_base_and_sizes(source: Copy, tmp_path: Path) -> None:
    db = imported(source("trainer"), tmp_path)
    runs = store.query(db, "select method_id, model_id, n_params, n_trainable, steps, n_tokens from run order by all")
    assert runs.rows() == [
        ("fft", "gpt_bigcode/12208", 12_208, 12_208, 8, 1_024),
        ("lora", "tiny-base", 12_208, 192, 8, 1_024),
    ]
    state = json.loads((FILES / "trainer/lora/trainer_state.json").read_text())
    for split, name in (("test", "eval_loss"), ("batch", "loss")):
        assert_same(losses(db, "lora", split), [(e["step"], e[name]) for e in state["log_history"] if name in e])


def test_a_checkpoint_is_the_run_that_goes_on(source: Copy, tmp_path: Path) -> None:
    folder = source("trainer/lora")
    (tmp_path / "early").mkdir()
    (folder / "checkpoint-8").rename(tmp_path / "later")
    (folder / "trainer_state.json").rename(tmp_path / "final.json")
    db = imported(folder, tmp_path, "--set", "n_params=12208")
    assert len(losses(db, "lora", "test")) == 1
    (tmp_path / "later").rename(folder / "checkpoint-8")
    imported(folder, tmp_path, "--set", "n_params=12208")
    assert len(losses(db, "lora", "test")) == 2
    assert store.query(db, "select steps from run").rows() == [(8,)]


def test_lm_eval_scores_and_samples(source: Copy, tmp_path: Path) -> None:
    db = imported(source("lm_eval"), tmp_path)
    found = store.query(
        db,
        "select task_id, n_shot, metric, value, stderr, n, method_id, n_params from final_score "
        "where not starts_with(metric, 'answer_')",
    )
    results = json.loads(next(FILES.glob("lm_eval/results_*.json")).read_text())
    expected = [
        (task, results["n-shot"][task], name.split(",")[0], value,
         results["results"][task][name.replace(",", "_stderr,")], 6, "none", 12_208)
        for task, metrics in results["results"].items()
        for name, value in metrics.items() if "," in name and "_stderr" not in name
    ]  # fmt: skip
    assert len(expected) == 3
    assert sorted(found.rows()) == sorted(expected)
    own = store.query(db, "select task_id, metric from final_score where starts_with(metric, 'answer_') order by all")
    assert own.rows() == [("tiny_choose", "answer_bits_per_byte"), ("tiny_choose", "answer_probability")]
    means = store.query(db, "select task_id, avg(value), count(*) from sample_score group by all order by all").rows()
    assert means == [("tiny_choose", 0.5, 6), ("tiny_write", 0.0, 6)]


def test_evaluations_join_the_run_that_is_there(source: Copy, tmp_path: Path) -> None:
    db = imported(source("trainer/lora"), tmp_path, "--set", "n_params=12208")
    run = store.query(db, "select run_id from run").item()
    imported(source("lm_eval"), tmp_path, "--set", f"run_id={run}")
    imported(source("bigcode/evaluation_results.json"), tmp_path, "--set", f"run_id={run}")
    joined = store.query(db, "select run_id, task_id from loss_to_score where split = 'test' group by all order by all")
    assert [task for _, task in joined.rows()] == [
        "humanevalfix-java", "humanevalsynthesize-python", "tiny_choose", "tiny_write",
    ]  # fmt: skip
    assert set(joined["run_id"]) == {run}
    assert_one_line(run_cli("import", source("peft"), "--db", db, "--set", f"run_id={run}"), 2, "only evaluations")
    assert_one_line(run_cli("import", source("inspect"), "--db", db, "--set", "run_id=no"), 2, "holds no such run")


def test_inspect_scores_and_samples(source: Copy, tmp_path: Path) -> None:
    db = imported(source("inspect/facts.eval"), tmp_path, "--set", "n_params=1B")
    scores = store.query(db, "select metric, value, n from final_score order by metric").rows()
    assert scores == [("accuracy", pytest.approx(4 / 6), 3), ("includes.accuracy", pytest.approx(4 / 6), 3)]
    samples = store.query(db, "select item_id, sample, value from sample_score order by all").rows()
    assert samples == [
        ("2", 0, 0.0), ("2", 1, 1.0), ("sum", 0, 1.0), ("sum", 1, 1.0), ("ville/é", 0, 1.0), ("ville/é", 1, 0.0),
    ]  # fmt: skip
    before = content(db)
    imported(source("inspect/facts.json"), tmp_path, "--set", "n_params=1B")
    assert [content(db)[table] for table in ("score", "sample_score")] == [before["score"], before["sample_score"]]


def test_an_evaluation_that_failed_is_skipped(source: Copy, tmp_path: Path) -> None:
    path = source("inspect/facts.json")
    path.write_text(path.read_text().replace('"status": "success"', '"status": "error"', 1))
    result = run_cli("import", path, "--db", tmp_path / "a.duckdb", "--set", "n_params=1B")
    assert_one_line(result, 1, "ended with status error")


def test_bigcode_metrics_know_the_base_model(source: Copy, tmp_path: Path) -> None:
    db = imported(source("bigcode/evaluation_results.json"), tmp_path)
    found = store.query(
        db, "select model_id, ladder, n_params, task_id, metric, value, is_main_metric from final_score"
    )
    assert sorted(found.rows()) == [
        ("bigcode/starcoderbase-1b", "starcoderbase", 1_137_207_296, "humanevalfix-java", "pass@1", 0.03170731707317073,
         True),
        ("bigcode/starcoderbase-1b", "starcoderbase", 1_137_207_296, "humanevalsynthesize-python", "pass@1",
         0.1707317073170732, True),
        ("bigcode/starcoderbase-1b", "starcoderbase", 1_137_207_296, "humanevalsynthesize-python", "pass@10",
         0.2439024390243902, False),
    ]  # fmt: skip


def test_generations_of_bigcode_are_sent_to_score(tmp_path: Path) -> None:
    path = tmp_path / "generations.json"
    path.write_text(json.dumps([["def f(): pass"]]))
    assert_one_line(run_cli("import", path, "--db", tmp_path / "a.duckdb"), 2, "astraios score generations.json --task")


def test_peft_comparison(source: Copy, tmp_path: Path) -> None:
    db = imported(source("peft"), tmp_path)
    run = store.query(db, "select model_id, method_id, n_params, n_trainable, seed, learning_rate, dataset_id from run")
    assert run.row(0) == (
        "meta-llama/Llama-3.2-3B", "ia3", 3_212_749_824, 286_720, 0, 1e-4, "metamath@aa4f34d3d2d3",
    )  # fmt: skip
    points = losses(db, "ia3", "batch")
    assert (points[0], points[-1]) == ((250, 1.3155810165405273), (5000, 0.7657463653087616))
    score = store.query(db, "select task_id, metric, value, n from final_score").row(0)
    assert score == ("gsm8k", "accuracy", 0.34495830174374525, 1319)
    tokens = store.query(db, "select n_tokens from loss_point where step = 5000").item()
    assert tokens == 4_198_051


def test_a_source_that_names_no_size_asks_for_it(source: Copy, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    assert_one_line(
        run_cli("import", source("tensorboard"), "--db", db), 2, "(ia3|lora) does not say .* --set n_params=SIZE"
    )
    for option, pattern in (
        ("n_parms=1B", "did you mean 'n_params'"), ("n_params=big", "size 'big'"), ("n_params", "COLUMN=VALUE"),
        ("learning_rate=fast", "a number was expected"),
    ):  # fmt: skip
        assert_one_line(run_cli("import", source("peft"), "--db", db, "--set", option), 2, pattern)
    assert_one_line(run_cli("import", "paper", "--db", db, "--map", "loss=x"), 2, "--map means nothing to .*'paper'")
    assert not db.exists()


def test_a_trainers_directory_goes_before_the_event_files_in_it(source: Copy, tmp_path: Path) -> None:
    """The Trainer keeps TensorBoard's files below its output directory, in a folder named after the host."""
    folder = source("trainer/full")
    shutil.copytree(source("tensorboard/lora"), folder / "runs/Nov23_07-12-01_secrethost")
    told = json.loads(run_cli("import", folder, "--db", tmp_path / "a.duckdb", "--json").stdout)
    assert (told["format"], told["guessed"]) == ("trainer", True)
    db = imported(folder, tmp_path, "--format", "tensorboard", "--set", "n_params=1M")
    names = store.query(db, "select settings->>'$.name' from run where run_id like 'tensorboard-%'").rows()
    assert names == [("runs/Nov23_07-12-01",)]
    db = imported(folder, tmp_path, "--format", "tensorboard", "--set", "n_params=1M", "--keep-private")
    names = store.query(db, "select settings->>'$.name' from run where run_id like 'tensorboard-%'").rows()
    assert names == [("runs/Nov23_07-12-01_secrethost",)]


def test_a_base_without_weights_is_counted_from_its_config(source: Copy, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    folder = source("trainer")
    (folder / "tiny-base/model.safetensors").unlink()
    db = imported(folder / "lora", tmp_path)
    assert store.query(db, "select model_id, n_params, n_trainable from run").rows() == [("tiny-base", 12_208, 192)]


def test_a_run_of_wandb_in_two_files_is_one(source: Copy, tmp_path: Path) -> None:
    folder = source("wandb")
    first = next(folder.glob("*lora321"))
    shutil.copytree(first, folder / "offline-run-20270101_000000-lora321")
    db = imported(folder, tmp_path)
    assert_same(losses(db, "lora", "test"), CORRECTED)
    assert store.query(db, "select count(*) from run").item() == 2


def test_runs_deleted_in_mlflow_are_skipped(source: Copy, tmp_path: Path) -> None:
    folder = source("mlflow/mlruns")
    meta = next(path for path in folder.glob("*/*/meta.yaml") if "lora-32" in path.read_text())
    meta.write_text(meta.read_text().replace("lifecycle_stage: active", "lifecycle_stage: deleted"))
    result = run_cli("import", folder, "--db", tmp_path / "a.duckdb", "--json")
    told = json.loads(result.stdout)
    assert (told["rows"]["run"], told["skipped"]["run lora-32"]) == (1, "deleted in MLflow")


def test_evaluations_of_a_run_that_only_failed(source: Copy, tmp_path: Path) -> None:
    db = imported(source("peft"), tmp_path)
    run = store.query(db, "select run_id from run").item()
    with store.writing(db) as connection:
        connection.execute("update attempt set state = 'failed'")
    imported(source("bigcode/evaluation_results.json"), tmp_path, "--set", f"run_id={run}")
    assert store.query(db, "select attempt, state from attempt order by all").rows() == [(1, "failed"), (2, "done")]
    assert len(store.query(db, "select * from final_score where task_id like 'humaneval%'")) == 3
