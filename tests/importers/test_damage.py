"""A damaged source is refused whole, in one line with file and place; the database is as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from astraios.importers._wire import masked_crc32c
from tests.conftest import assert_one_line, run_cli

Copy = Callable[[str], Path]
SIZED = ("--set", "n_params=1M")

CUT = [
    # source, the file in it, pattern of the place
    ("trainer", "lora/trainer_state.json", r"trainer_state\.json: line \d+, column \d+: not JSON"),
    ("trainer", "full/checkpoint-4/trainer_state.json", r"trainer_state\.json: line \d+, column \d+: not JSON"),
    ("trainer", "lora/adapter_config.json", r"adapter_config\.json: line \d+, column \d+: not JSON"),
    ("trainer", "full/model.safetensors", r"model\.safetensors: byte \d+: the file"),
    ("wandb", "offline-run-*/run-lora321.wandb", r"run-lora321\.wandb: byte \d+: the file ends within"),
    ("mlflow/mlflow.db", "", r"mlflow\.db: (damaged|not an sqlite file|an sqlite file, but)"),
    ("mlflow/mlruns", "*/*/metrics/eval_loss", r"eval_loss: line \d+: (a time, a value and a step|the file ends)"),
    ("tensorboard", "lora/events*", r"events\.out\S*: byte \d+: the file ends within"),
    ("lm_eval", "results_*.json", r"results_\S*: line \d+, column \d+: not JSON"),
    ("lm_eval", "samples_tiny_choose*", r"samples_\S*: line \d+: not JSON"),
    ("inspect/facts.eval", "", r"facts\.eval: not a whole \.eval file"),
    ("inspect/facts.json", "", r"facts\.json: line \d+, column \d+: not JSON"),
    ("bigcode/evaluation_results.json", "", r"evaluation_results\.json: line \d+, column \d+: not JSON"),
    ("peft", "ia3*", r"ia3\S*: line \d+, column \d+: not JSON"),
]


def pick(path: Path, pattern: str) -> Path:
    return sorted(path.glob(pattern))[0] if pattern else path


@pytest.mark.promise("an import is whole or refused, and twice is once")
@pytest.mark.parametrize(("name", "pattern", "place"), CUT, ids=[f"{name}-{part}" for name, part, _ in CUT])
@pytest.mark.parametrize("share", [0.35, 0.8])
def test_a_file_that_was_cut(name: str, pattern: str, place: str, share: float, source: Copy, tmp_path: Path) -> None:
    path, db = source(name), tmp_path / "a.duckdb"
    file = pick(path, pattern)
    data = file.read_bytes()
    # A file of lines that ends with one of them can't be told from a shorter file.
    file.write_bytes(data[: int(share * len(data))].rstrip(b"\n"))
    form = {"inspect/facts.json": "inspect", "peft": "peft-comparison"}.get(name, name.split("/")[0]).replace("_", "-")
    result = run_cli("import", path, "--db", db, "--format", form, "--strict", *SIZED)
    assert_one_line(result, 1, place)
    assert not db.exists()


@pytest.mark.promise("one bad item never refuses its siblings")
@pytest.mark.parametrize(("name", "pattern"), [(name, part) for name, part, _ in CUT if part and "lm_eval" not in name
                                               and name != "peft"])  # fmt: skip
def test_the_siblings_of_a_file_that_was_cut(name: str, pattern: str, source: Copy, tmp_path: Path) -> None:
    path, db = source(name), tmp_path / "a.duckdb"
    file = pick(path, pattern)
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2].rstrip(b"\n"))
    result = run_cli("import", path, "--db", db, "--format", name.split("/")[0], "--json", *SIZED)
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    # A run has its checkpoints' states too; of a log that a kill has cut, what stands before counts.
    lost = 0 if "trainer_state" in pattern or name in ("wandb", "tensorboard") else 1
    assert told["rows"]["run"] == 2 - lost
    assert any("line" in why or "byte" in why for why in told["skipped"].values())


FLIPPED = [
    ("wandb", "offline-run-*/run-lora321.wandb", (7, 30, 2000, -10)),
    ("tensorboard", "lora/events*", (0, 9, 300, -3)),
    ("inspect/facts.eval", "", (100, 3000, 9000)),
    ("trainer", "lora/adapter_model.safetensors", (0, 9)),
]


@pytest.mark.promise("an import is whole or refused, and twice is once")
@pytest.mark.parametrize(("name", "pattern", "places"), FLIPPED, ids=[name for name, *_ in FLIPPED])
def test_a_byte_that_was_changed(
    name: str, pattern: str, places: tuple[int, ...], source: Copy, tmp_path: Path
) -> None:
    path, db = source(name), tmp_path / "a.duckdb"
    file = pick(path, pattern)
    whole = file.read_bytes()
    for place in places:
        data = bytearray(whole)
        data[place] ^= 0x55
        file.write_bytes(data)
        result = run_cli("import", path, "--db", db, "--format", name.split("/")[0], "--strict", *SIZED)
        assert_one_line(result, 1, rf"{file.name}: byte \d+|{file.name}: not a whole")
    assert not db.exists()


@pytest.mark.parametrize(
    ("name", "old", "new", "pattern"),
    [
        ("trainer/lora/trainer_state.json", '"step": 4', '"step": "x"', r"log_history\[\d\]: a step should be a whole"),
        ("trainer/lora/trainer_state.json", '"step": 4', '"step": -4', r"log_history\[\d\]: step -4 is out of range"),
        ("trainer/lora/trainer_state.json", '"log_history"', '"history"', "not a Trainer's state"),
        ("bigcode/evaluation_results.json", '"model":', '"modell":', "no config that names a model"),
        ("peft/ia3--llama-3.2-3B-default.json", '"num_trainable_params": 286720', '"num_trainable_params": null',
         "should be whole numbers"),
        ("peft/ia3--llama-3.2-3B-default.json", '"train loss": 1.3155810165405273', '"train loss": "low"',
         r"metrics\[0\]: train loss should be a number"),
    ],
)  # fmt: skip
def test_content_that_makes_no_sense(name: str, old: str, new: str, pattern: str, source: Copy, tmp_path: Path) -> None:
    path, db = source(name), tmp_path / "a.duckdb"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    form = {"peft": "peft-comparison"}.get(name.split("/")[0], name.split("/")[0])
    assert_one_line(run_cli("import", path, "--db", db, "--format", form, *SIZED), 1, pattern)
    assert not db.exists()


def test_what_is_no_text(source: Copy, tmp_path: Path) -> None:
    path = source("trainer/lora/trainer_state.json")
    path.write_bytes(path.read_bytes().replace(b'"epoch"', b'"ep\xff\xfeh"', 1))
    assert_one_line(run_cli("import", path, "--db", tmp_path / "a.duckdb", *SIZED), 1, r"line \d+, byte \d+: not UTF-8")


def test_two_folders_with_one_run(source: Copy, tmp_path: Path) -> None:
    """A copy is skipped; a run that went on in two ways is two."""
    folder, db = source("trainer"), tmp_path / "a.duckdb"
    shutil.copytree(folder / "lora", folder / "lora-copy")
    command = ("import", folder, "--db", db)
    told = json.loads(run_cli(*command, "--json", "--dry-run").stdout)
    assert (told["rows"]["run"], told["skipped"]["lora-copy"]) == (2, "the same run as lora")
    state = json.loads((folder / "lora-copy/trainer_state.json").read_text())
    next(entry for entry in state["log_history"] if entry.get("step") == 8 and "eval_loss" in entry)["eval_loss"] = 1.0
    (folder / "lora-copy/trainer_state.json").write_text(json.dumps(state))
    told = json.loads(run_cli(*command, "--json").stdout)
    assert told["rows"]["run"] == 3


def test_an_sqlite_file_of_somebody_else(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("create table t (x)")
    connection.commit()
    connection.close()
    assert_one_line(run_cli("import", path, "--db", tmp_path / "a.duckdb"), 1, "not MLflow's")


def test_the_checksum_is_tfrecords() -> None:
    """Known answers of CRC-32C (RFC 3720, B.4), masked as TensorFlow does."""
    for data, crc in ((bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)):
        assert masked_crc32c(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
