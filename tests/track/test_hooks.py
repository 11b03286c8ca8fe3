"""The hooks: each with the library that it hooks into, and what they read of a trainer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.runs.directory import RunDirectory
from tests.conftest import REPOSITORY, run_cli
from tests.track import trainings

LIBRARIES = REPOSITORY / ".venv-trackers" / "bin" / "python"
PROMISE = "What a training library logs is what the database holds"


@cache
def python_with(library: str) -> str | None:
    """An interpreter that has a library: this one, $ASTRAIOS_TRACKERS, or that of `make trackers`."""
    for python in (sys.executable, os.environ.get("ASTRAIOS_TRACKERS"), str(LIBRARIES)):
        if python and Path(python).exists():
            found = subprocess.run([python, "-c", f"import {library}"], capture_output=True, check=False)
            if found.returncode == 0:
                return python
    return None


def trained(name: str, library: str, folder: Path) -> trainings.Own:
    """The tool's own log of a training in a process of its own."""
    python = python_with(library)
    if python is None:
        pytest.skip(f"{library} is not installed: make trackers")
    result = subprocess.run(
        [python, "-m", "tests.track.trainings", name, str(folder)], cwd=REPOSITORY, capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY), "ASTRAIOS_RUNS": str(folder / "runs")},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    own: trainings.Own = json.loads(result.stdout.splitlines()[-1])
    return own


def ingested(folder: Path) -> Path:
    db = folder / "a.duckdb"
    report = store.ingest(db, folder / "runs")
    assert not report.skipped
    assert store.failed_checks(db) == {}
    return db


def same_losses(folder: Path, own: trainings.Own) -> Path:
    """The losses in the database are the tool's own to the last digit."""
    db = ingested(folder)
    for run_id, losses in own.items():
        sql = f"select split, step, loss_nats from loss_curve where run_id = '{run_id}' order by all"
        assert store.query(db, sql).rows() == sorted(tuple(row) for row in losses)
    assert store.query(db, "select count(distinct run_id) from loss_curve").item() == len(own)
    return db


@pytest.mark.promise(PROMISE)
@pytest.mark.slow
def test_trainer_runs_become_a_projection(tmp_path: Path) -> None:
    db = same_losses(tmp_path, trained("trainer", "transformers", tmp_path))
    sql = "select n_params, method_id, seed from run order by all"
    grid = store.query(db, sql).rows()
    sizes = sorted({n for n, _, _ in grid})
    assert grid == [(n, method, seed) for n in sizes for method in ("fft", "lora") for seed in (0, 1)]
    assert len(sizes) == 3
    rates = store.query(db, "select count(*) from loss_point where learning_rate is null").item()
    assert rates == 0, "the rate at every loss"
    fitted = run_cli("fit-scaling", "--db", db, "--json", "--target", 10 * sizes[-1])
    assert fitted.returncode == 0, fitted.stderr
    assert {fit["group"] for fit in json.loads(fitted.stdout)["fits"]} == {"fft", "lora"}
    page = run_cli("report", "--db", db, "--output", tmp_path / "report.html")
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "report.html").stat().st_size > 100_000


@pytest.mark.promise(PROMISE)
@pytest.mark.slow
@pytest.mark.parametrize(("name", "library"), [("sft", "trl"), ("lightning", "lightning")])
def test_losses_are_those_of_the_tools_own_log(tmp_path: Path, name: str, library: str) -> None:
    db = same_losses(tmp_path, trained(name, library, tmp_path))
    row = store.query(db, "from run").row(0, named=True)
    assert (row["method_id"], row["model_id"]) == ("lora", "tests/tiny-16")
    assert (row["n_params"], row["n_trainable"]) == counts(16, lora=True)
    assert row["learning_rate"] == 1e-2
    assert row["n_tokens"] is not None or name == "lightning"


@pytest.mark.promise(PROMISE)
@pytest.mark.slow
@pytest.mark.parametrize("name", ["grpo", "dpo"])
def test_rewards_are_scores_along_training(tmp_path: Path, name: str) -> None:
    own = trained(name, "trl", tmp_path)
    db = ingested(tmp_path)
    assert store.query(db, "select count(*) from loss_point").item() == 0, "the objective is no loss of tokens"
    [(run_id, told)] = own.items()
    for task, step, value in told:
        table, where = ("metric_curve", "name") if task == "loss" else ("score_curve", "task_id")
        sql = f"select value from {table} where run_id = '{run_id}' and {where} = '{task}' and step = {step}"
        assert store.query(db, sql).item() == value
    assert len(told) >= 3


@pytest.mark.promise(PROMISE)
@pytest.mark.slow
def test_scores_of_inspect_ai_join_the_run_of_the_models_folder(tmp_path: Path) -> None:
    own = trained("inspect", "inspect_ai.hooks", tmp_path)
    db = ingested(tmp_path)
    [(run_id, [(task, _, accuracy), (_, _, stderr), (_, step, _)])] = own.items()
    row = store.query(db, "from score_curve").row(0, named=True)
    assert (row["run_id"], row["task_id"], row["metric"], row["step"]) == (run_id, task, "accuracy", step)
    assert (row["value"], row["stderr"], row["n"]) == (accuracy, stderr, 3)
    assert store.query(db, "select loss_nats from loss_curve").item() == 2.0


@pytest.mark.promise(PROMISE)
def test_a_loop_with_accelerate(tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    db = same_losses(tmp_path, trained("accelerate", "accelerate", tmp_path))
    row = store.query(db, "from run").row(0, named=True)
    assert (row["n_params"], row["n_trainable"], row["method_id"]) == (*counts(16), "fft")
    assert (row["learning_rate"], row["seed"]) == (1e-2, 0)
    assert json.loads(row["settings"])["config"] == {"lr": 1e-2, "batch_size": 4}


def counts(width: int, lora: bool = False) -> tuple[int, int]:
    """Parameters of the tests' Llama by its formula: in all, and trained."""
    matrices = 4 * width * width + 3 * width * 4 * width
    total = 2 * 260 * width + 2 * (matrices + 2 * width) + width
    return total, 2 * 2 * 2 * 4 * width if lora else total


@pytest.fixture
def callback(tmp_path: Path) -> Any:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    from astraios.track.transformers import AstraiosCallback

    return AstraiosCallback(out=tmp_path / "runs")


def train(folder: Path, callback: Any, steps: int, resume: bool = False, fail_at: int | None = None) -> Any:
    from transformers import Trainer, TrainerCallback, TrainingArguments

    class Stop(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == fail_at:
                raise RuntimeError("killed")

    rows = trainings.blocks(24)
    args = TrainingArguments(
        output_dir=str(folder / "out"), max_steps=steps, per_device_train_batch_size=2, logging_steps=1, eval_steps=2,
        eval_strategy="steps", save_strategy="steps", save_steps=2, disable_tqdm=True, use_cpu=True, report_to="none",
        learning_rate=1e-2, seed=7,
    )  # fmt: skip
    model = trainings.tiny_model(16, lora=True)
    trainer = Trainer(model, args, train_dataset=rows[:16], eval_dataset=rows[16:], callbacks=[callback, Stop()])
    trainer.train(resume_from_checkpoint=resume or None)
    return trainer


@pytest.mark.promise(PROMISE)
def test_the_callback_reads_the_facts_of_the_trainer(tmp_path: Path, callback: Any) -> None:
    from astraios.track.transformers import AstraiosCallback

    trainer = train(tmp_path, callback, steps=4)
    run_id = callback.run.id
    db = same_losses(tmp_path, {run_id: trainings.of_trainer(trainer)})
    row = store.query(db, "from run join base_model using (model_id)").row(0, named=True)
    assert (row["model_id"], row["method_id"], row["seed"]) == ("tests/tiny-16", "lora", 7)
    assert (row["n_params"], row["n_trainable"]) == counts(16, lora=True)
    assert row["n_params_nonembedding"] == row["n_params"] - 2 * 260 * 16
    assert (row["steps"], row["n_tokens"], row["learning_rate"]) == (4, 4 * 2 * 32, 1e-2)
    assert row["architecture"] == "LlamaForCausalLM"
    # 4 operations a matrix parameter and token with a frozen base, 6 an adapter's, and attention over 32 positions.
    matrices, adapter = row["n_params_nonembedding"] + 260 * 16, row["n_trainable"]
    assert row["train_flops"] == 256 * (4 * matrices + 6 * adapter + 12 * 2 * 32 * 16)
    settings = json.loads(store.query(db, "select settings from run").item())
    assert {"rank": 4, "alpha": 8}.items() <= settings["settings"].items()
    assert settings["train"]["lr_scheduler_type"] == "linear"
    assert settings["sources"]["n_params"] == "model"
    rates = store.query(db, "select step, learning_rate from loss_curve where split = 'batch' order by step").rows()
    own = [(row["step"], row["learning_rate"]) for row in trainer.state.log_history if "learning_rate" in row]
    assert rates == own
    assert "train_loss" in set(store.query(db, "select name from metric_curve")["name"])
    before = store.query(db, "select dataset_id from run").item()
    assert store.query(db, "select eval_hash from dataset").item().startswith(before.rpartition("-")[2])

    trainer.evaluate()
    assert RunDirectory(tmp_path / "runs" / run_id).garbage() is None
    again = AstraiosCallback(out=tmp_path / "runs")
    train(tmp_path / "again", again, steps=2)
    assert (
        store.query(ingested(tmp_path), f"select dataset_id from run where run_id = '{again.run.id}'").item() == before
    )


@pytest.mark.promise(PROMISE)
def test_a_training_goes_on_from_its_checkpoint_under_its_id(tmp_path: Path, callback: Any) -> None:
    from astraios.track.transformers import AstraiosCallback

    with pytest.raises(RuntimeError, match="killed"):
        train(tmp_path, callback, steps=6, fail_at=5)
    first = callback.run.id
    callback.run._forget()  # As if the process had gone.
    second = AstraiosCallback(out=tmp_path / "runs")
    trainer = train(tmp_path, second, steps=6, resume=True)
    assert second.run.id == first
    same_losses(tmp_path, {first: trainings.of_trainer(trainer)})


def test_the_name_is_known_to_report_to(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from transformers.integrations import get_reporting_integration_callbacks

    from astraios.track.transformers import AstraiosCallback

    assert get_reporting_integration_callbacks(["astraios"]) == [AstraiosCallback]


def test_a_classifiers_loss_is_no_loss_of_tokens() -> None:
    pytest.importorskip("transformers")
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from astraios.track.model import is_language_model

    config = AutoConfig.for_model(
        "llama", vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    assert not is_language_model(AutoModelForSequenceClassification.from_config(config))
    assert is_language_model(trainings.tiny_model(16, lora=True))
