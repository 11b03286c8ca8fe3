"""Small inputs of kinds that came out wrong in other tools and here, each with its right value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from astraios import store
from tests.conftest import run_cli

CASES = Path(__file__).parent / "cases"
SIZED = ("--set", "n_params=1M")


def imported(db: Path, name: str, *options: str) -> str:
    result = run_cli("import", CASES / name, "--db", db, *options)
    assert result.returncode == 0, result.stderr
    return str(result.stderr)


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(store.query(db, sql).rows())


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def last(db: Path, split: str = "test") -> list[tuple[int, float]]:
    return rows(db, f"select last_step, last_loss from loss_summary where split = '{split}' order by all")


@pytest.mark.promise("an import says what the runs really had")
def test_two_runs_of_a_sweep_whose_first_line_is_equal(db: Path) -> None:
    imported(db, "trainer-sweep", *SIZED)
    assert sorted(loss for _, loss in last(db)) == [3.2, 3.4]


@pytest.mark.promise("an import says what the runs really had")
def test_runs_of_a_sweep_one_by_one(db: Path) -> None:
    for folder in ("wd0.0", "wd0.1", "wd0.0"):
        imported(db, f"trainer-sweep/sweep/{folder}", *SIZED)
    assert sorted(loss for _, loss in last(db)) == [3.2, 3.4]


@pytest.mark.promise("an import says what the runs really had")
def test_a_left_over_checkpoint_of_an_older_run(db: Path) -> None:
    assert "another run's" in imported(db, "stale-checkpoint", *SIZED)
    assert last(db) == [(500, 3.11)]


@pytest.mark.promise("an import says what the runs really had")
def test_runs_that_lie_in_the_log_beside_the_sqlite_file(db: Path) -> None:
    imported(db, "mlflow-wal", *SIZED)
    assert rows(db, "select count(*) from run") == [(2,)]
    assert not list(CASES.glob("mlflow-wal/*-shm"))


@pytest.mark.promise("an import says what the runs really had")
def test_a_record_whose_first_part_is_empty(db: Path) -> None:
    imported(db, "wandb-block-end", *SIZED)
    assert rows(db, "select count(*) from loss_point") == [(2,)]


@pytest.mark.promise("an import says what the runs really had")
def test_a_restart_with_a_purge_step(db: Path) -> None:
    assert "abandoned branch" in imported(db, "tensorboard-purge", *SIZED)
    assert last(db) == [(70, pytest.approx(2.93, abs=1e-6))]


@pytest.mark.promise("an import says what the runs really had")
def test_the_newer_of_two_logs_in_different_zones(db: Path) -> None:
    imported(db, "inspect-offset", *SIZED)
    assert rows(db, "select value from score") == [(0.9,)]


@pytest.mark.promise("an import says what the runs really had")
def test_the_shots_of_a_group_stand_in_its_subtasks(db: Path) -> None:
    imported(db, "lm-eval-group-shots")
    found = rows(db, "select n_shot, value from score where task_id = 'mmlu' order by n_shot")
    assert found == [(0, 0.25), (5, 0.40)]


@pytest.mark.promise("an import says what the runs really had")
def test_samples_without_metrics_and_filter(db: Path) -> None:
    imported(db, "lm-eval-old-samples")
    assert rows(db, "select metric, value from score order by metric") == [("acc", 0.5), ("acc_norm", 0.5)]
    found = rows(db, "select task_id, value from sample_score order by value")
    assert found == [("arc_easy [limit=2]", 0.0), ("arc_easy [limit=2]", 1.0)], "two of 2,376 items: a trial"


@pytest.mark.promise("an import says what the runs really had")
def test_results_of_version_0_3(db: Path) -> None:
    imported(db, "lm-eval-0.3", *SIZED)
    assert rows(db, "select distinct n_shot from evaluation") == [(10,)]
    better = rows(db, "select task_id, higher_is_better from task order by task_id")
    assert better == [("hellaswag", True), ("wikitext", False)]


@pytest.mark.promise("an import says what the runs really had")
def test_a_log_of_llamafactory(db: Path) -> None:
    imported(db, "llamafactory-log", *SIZED)
    assert rows(db, "select step, loss_nats from loss_point where split = 'batch' order by step") == [
        (10, 4.4), (20, 4.2), (30, 4.0), (40, 3.9),
    ]  # fmt: skip
    assert (20, 4.15) in rows(db, "select step, loss_nats from loss_point where split = 'test'")
    assert rows(db, "select count(*) from run") == [(1,)]


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize(
    ("name", "sized", "rate", "losses"),
    [
        ("plain.csv", SIZED, 1e-3, {"test": [(10, 4.1), (20, 3.9), (30, 3.7)]}),
        ("withrun.csv", (), 1e-3, {"test": [(10, 4.1), (20, 3.9), (30, 3.7)]}),
        ("metrics.csv", SIZED, 1e-3,
         {"batch": [(49, 4.31), (99, 4.02), (149, 3.85), (199, 3.71)], "test": [(99, 4.11), (199, 3.82)]}),
    ],
)  # fmt: skip
def test_a_log_of_one_run(name: str, sized: tuple[str, ...], rate: float, losses: dict[str, Any], db: Path) -> None:
    imported(db, f"step-logs/{name}", *sized)
    assert rows(db, "select learning_rate from run") == [(rate,)]
    for split, points in losses.items():
        assert rows(db, f"select step, loss_nats from loss_point where split = '{split}' order by step") == points


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize(
    ("name", "sized", "test", "batch"),
    [
        ("keras.csv", (), [3.2], [2.5]),
        ("rowrun.csv", (), [3.0, 3.2], [2.2, 2.5]),
        ("log_history.csv", SIZED, [3.85], [3.7]),
    ],
)  # fmt: skip
def test_the_loss_beside_an_evaluations_is_the_batchs(
    name: str, sized: tuple[str, ...], test: list[float], batch: list[float], db: Path
) -> None:
    imported(db, f"loss-beside-eval-loss/{name}", *sized)
    assert sorted(loss for _, loss in last(db)) == test
    assert sorted(loss for _, loss in last(db, "batch")) == batch


@pytest.mark.promise("an import says what the runs really had")
def test_names_of_methods_are_kept(db: Path) -> None:
    imported(db, "method-names")
    found = [row[0] for row in rows(db, "select distinct method_id from run ")]
    assert sorted(found) == ["lora", "lora alpha=1.6", "lora alpha=16", "lora+", "🦙"]


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize("path", sorted((CASES / "parquet-types").iterdir()), ids=lambda path: path.stem)
def test_columns_of_any_type(path: Path, db: Path) -> None:
    imported(db, f"parquet-types/{path.name}")
    assert [loss for _, loss in last(db)] == pytest.approx([3.4, 3.5, 3.7, 3.9], abs=1e-6)


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize("folder", ["out", "out2"])
def test_quantized_weights_count_as_what_they_stand_for(folder: str, db: Path) -> None:
    imported(db, f"quantized-base/{folder}")
    assert rows(db, "select n_params, n_trainable from run") == [(104_960, 512)]


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize(("name", "trainable"), [("adapter-counts/headtied", 5_280), ("adapter-counts/prefix", 10_848)])
def test_what_an_adapter_trained(name: str, trainable: int, db: Path) -> None:
    imported(db, name, *SIZED)
    assert rows(db, "select n_trainable from run") == [(trainable,)]


@pytest.mark.promise("an import says what the runs really had")
def test_what_an_adapter_trains_of_a_base_that_is_there(db: Path, tmp_path: Path) -> None:
    """Without the adapter's file it is counted by its configuration; then with embeddings that the file carries."""
    torch = pytest.importorskip("torch")
    import shutil

    from safetensors.torch import save_file

    imported(db, "adapter-counts-lora/real")
    assert rows(db, "select n_params, n_trainable from run") == [(210_240, 1_024)]
    folder = tmp_path / "adapter-counts-lora"
    shutil.copytree(CASES / "adapter-counts-lora", folder)
    carried = {f"base_model.model.{name}.weight": torch.zeros(1008, 64) for name in ("lm_head", "model.embed_tokens")}
    for layer in (0, 1):
        stem = f"base_model.model.model.layers.{layer}.self_attn.q_proj"
        carried |= {f"{stem}.lora_A.weight": torch.zeros(4, 64), f"{stem}.lora_B.weight": torch.zeros(64, 4)}
    save_file(carried, folder / "real" / "adapter_model.safetensors")
    assert sum(tensor.numel() for tensor in carried.values()) == 130_048
    assert run_cli("import", folder / "real", "--db", tmp_path / "b.duckdb").returncode == 0
    assert rows(tmp_path / "b.duckdb", "select n_params, n_trainable from run") == [(210_240, 1_024)]


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize(("name", "loss"), [("min.csv", float("inf")), ("minnan.csv", float("nan"))])
def test_a_seed_that_diverged(name: str, loss: float, db: Path, tmp_path: Path) -> None:
    imported(db, f"diverged-seed/{name}")
    (run,) = store.query(db, "select run_id from loss_summary where not isfinite(last_loss)")["run_id"].to_list()
    page = tmp_path / "report.html"
    result = run_cli("report", "--db", db, "--output", page)
    assert result.returncode == 0, result.stderr
    assert page.stat().st_size > 1000
    fit = run_cli("fit-scaling", "--db", db)
    assert "Traceback" not in fit.stderr
    assert run in fit.stderr + fit.stdout
    assert "exclude" in fit.stderr + fit.stdout


def test_the_cases_hold_no_case_without_a_test() -> None:
    tested = Path(__file__).read_text()
    assert [path.name for path in sorted(CASES.iterdir()) if path.name not in tested] == []


def test_what_was_guessed_is_said_and_stored(db: Path) -> None:
    dry = json.loads(run_cli("import", CASES / "step-logs/withrun.csv", "--db", db, "--dry-run", "--json").stdout)
    assert dry["runs"][0]["from"]["learning_rate"] == "the highest along the run"
    assert not db.exists()
    assert "method not said" in imported(db, "step-logs/withrun.csv")
    stored = json.loads(rows(db, "select settings from run")[0][0])
    assert stored["facts_from"]["learning_rate"] == "the highest along the run"
    assert isinstance(pl.DataFrame(dry["runs"]), pl.DataFrame)
