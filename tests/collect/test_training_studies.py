"""The built-in sweeps of the paper: what they ask for, planned without a download."""

from __future__ import annotations

import csv
import json
import resource
from pathlib import Path

import pytest

from astraios.collect.plan.sweep import Sweep
from astraios.errors import UsageError
from tests.conftest import REPOSITORY, run_cli, run_process, sweep_toml

pytest.importorskip("torch")
SIZES = {
    "bigcode/starcoderbase-1b": "1b",
    "bigcode/starcoderbase-3b": "3b",
    "bigcode/starcoderbase-7b": "7b",
    "bigcode/starcoderbase": "16b",
}


def child_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


@pytest.mark.promise("parameter counts are the paper's")
def test_the_papers_study_has_table_1_in_all_28_rows() -> None:
    before = child_seconds()
    result = run_process("collect", "astraios", "--dry-run", "--json", HF_HUB_OFFLINE="1")
    seconds = child_seconds() - before
    assert result.returncode == 0, result.stderr
    rows = json.loads(result.stdout)
    counts = {(r["method_id"], SIZES[r["model_id"]]): r["n_trainable"] for r in rows}
    with open(REPOSITORY / "astraios" / "importers" / "paper_tables.csv", encoding="utf-8") as lines:
        table = [row for row in csv.DictReader(lines) if row["task"] == "trainable_parameters"]
    assert len(rows) == len(table) == 28
    assert counts == {(row["method"], row["size"]): int(row["value"]) for row in table}
    for row in rows:
        assert row["steps"] == 200
        assert row["n_tokens"] == 200 * 32 * 2048
        assert row["learning_rate"] == (1e-6 if row["method_id"] == "fft" else 1e-4)
    # Seconds of processor, because other work on the machine stretches the clock.
    assert seconds < 60


@pytest.mark.promise("appendix F has its right and wrong rates")
def test_appendix_f_has_each_method_at_its_wrong_and_right_rates() -> None:
    cells = Sweep.read("learning_rate").cells()
    rates = {m: {c.train.learning_rate for c in cells if c.method_id == m} for m in ("prompt", "adalora")}
    assert rates == {"prompt": {1e-4, 3e-2}, "adalora": {1e-4, 1e-3, 3e-2}}
    assert len(cells) == 4 * 5 == len({c.run_id for c in cells})
    assert {c.model_id for c in cells} == set(SIZES)
    recipe = Sweep.read("astraios").train
    assert Sweep.read("learning_rate").train == recipe
    assert {c.train.quantization for c in cells} == {"8bit"}


def test_a_list_of_rates_makes_a_cell_of_each(small_models: list[str], pairs_file: Path, tmp_path: Path) -> None:
    one = sweep_toml(small_models[:1], pairs_file)
    both = one.replace("learning_rate = 1e-2", "learning_rate = [1e-2, 1e-3]")
    cells = Sweep.from_toml(both, "x").cells()
    assert [(c.method_id, c.train.learning_rate) for c in cells] == [("fft", 5e-3), ("lora", 1e-2), ("lora", 1e-3)]
    assert {c.run_id for c in Sweep.from_toml(one, "x").cells()} == {c.run_id for c in cells[:2]}, "ids stay"
    assert [c.train.learning_rate for c in Sweep.from_toml(both, "x").cells(["learning_rate=0.001"])] == [1e-3]
    for wrong in ("[]", "[1e-2, 1e-2]", "[-1.0]", '"fast"', "0"):
        with pytest.raises(UsageError, match=r"\[method.lora\] learning_rate"):
            Sweep.from_toml(one.replace("learning_rate = 1e-2", f"learning_rate = {wrong}"), "x")


def test_new_fields_leave_the_ids_of_older_runs(small_sweep: Path) -> None:
    from astraios.data.packing import DataSpec
    from astraios.train.loop import TrainSpec

    old_train = {
        "steps", "batch_size", "micro_batch", "learning_rate", "warmup_steps", "final_learning_rate", "weight_decay",
        "betas", "clip_norm", "eval_every", "log_every", "checkpoint_every", "dtype", "quantization",
        "gradient_checkpointing",
    }  # fmt: skip
    old_data = {
        "source", "prompt_format", "sequence_length", "test_blocks", "train_eval_blocks", "answers_only", "options",
    }  # fmt: skip
    cell = Sweep.read(str(small_sweep)).cells()[0]
    assert set(cell.to_dict()["train"]) == old_train
    assert set(cell.to_dict()["data"]) == old_data
    for kind, old in ((TrainSpec, old_train), (DataSpec, old_data)):
        fields = {f.name: f for f in kind.__dataclass_fields__.values()}
        assert {name for name, f in fields.items() if not f.metadata.get("later")} == old


def test_a_filter_that_leaves_nothing_is_named(small_sweep: Path) -> None:
    result = run_cli("collect", small_sweep, "--dry-run", "--only", "learning_rate=7")
    assert result.returncode == 2
    assert "no cell" in result.stderr
    result = run_cli("collect", small_sweep, "--dry-run", "--only", "seed=a")
    assert "'a' is no number" in result.stderr
