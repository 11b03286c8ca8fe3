"""Importing: what comes in is what the source says, once, and bad sources are refused whole."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from astraios import store
from tests.conftest import assert_one_line, run_cli


@pytest.fixture(scope="module")
def paper_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    db = tmp_path_factory.mktemp("paper") / "paper.duckdb"
    assert run_cli("import", "paper", "--db", db).returncode == 0
    return db


def tables(db: Path) -> dict[str, list[tuple[object, ...]]]:
    names = ("base_model", "tuning_method", "dataset", "run", "attempt", "task", "evaluation", "score", "correlation")
    return {name: sorted(store.query(db, f"from {name}").rows(), key=repr) for name in names}


@pytest.mark.must(8, 4)
def test_every_printed_number_is_in_its_place(paper_db: Path, shared: Path) -> None:
    printed = pl.read_csv(shared / "data/paper/paper_tables.csv", infer_schema_length=None)
    sizes = {"1b": 1_137_207_296, "3b": 3_043_311_104, "7b": 7_327_263_232, "16b": 15_517_456_384}
    trainable = store.query(paper_db, "select method_id, n_params, n_trainable from run")
    table1 = printed.filter(pl.col("table").cast(pl.String) == "1")
    assert len(table1) == 28
    for row in table1.iter_rows(named=True):
        found = trainable.filter((pl.col("method_id") == row["method"]) & (pl.col("n_params") == sizes[row["size"]]))
        assert found["n_trainable"].to_list() == [int(row["value"])]
    scores = store.query(
        paper_db, "select method_id, n_params, task_id, metric, round(100 * value, 2) as v from final_score"
    )
    for table, count in (("2", 56), ("3", 168), ("4", 224), ("5", 56)):
        cells = printed.filter(pl.col("table").cast(pl.String) == table)
        assert len(cells) == count
        for row in cells.iter_rows(named=True):
            task = row["task"].replace("_", "-") if row["task"].startswith("recode") else None
            task = task or {"defect_detection": "devign", "clone_detection": "bigclonebench", "aatk_dow": "aatk"}.get(
                row["task"], f"{row['task'].replace('_', '')}-{row['language']}"
            )
            own = scores.filter(
                (pl.col("method_id") == row["method"])
                & (pl.col("n_params") == sizes[row["size"]])
                & (pl.col("task_id") == task)
                & ~pl.col("metric").str.contains("released")
            )
            assert float(row["value"]) in own["v"].to_list(), row


def test_importing_twice_changes_nothing(paper_db: Path) -> None:
    before = tables(paper_db)
    assert run_cli("import", "paper", "--db", paper_db).returncode == 0
    assert tables(paper_db) == before
    assert store.failed_checks(paper_db) == {}


def test_published_is_never_mixed_with_measured(paper_db: Path) -> None:
    assert store.query(paper_db, "select distinct origin from final_score")["origin"].to_list() == ["published"]
    contradicted = store.query(paper_db, "select value from final_score where metric like '%released%' order by value")
    assert contradicted["value"].to_list() == pytest.approx([0.0317, 0.1037])


def test_dry_run_writes_nothing(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    result = run_cli("import", "paper", "--db", db, "--dry-run", "--json")
    assert json.loads(result.stdout)["rows"]["run"] == 28
    assert not db.exists()


def test_what_cannot_be_imported(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    assert_one_line(run_cli("import", "nothing-there", "--db", db), 2, "no file, folder or built-in study")
    (tmp_path / "x.bin").write_bytes(b"\0\1\2")
    assert_one_line(run_cli("import", tmp_path / "x.bin", "--db", db), 2, "format not recognised")
    assert_one_line(run_cli("import", "paper", "--format", "papr", "--db", db), 2, "unknown import format 'papr'")
    assert_one_line(run_cli("import", "paper", "--map", "loss", "--db", db), 2, "COLUMN=NAME")
    assert not db.exists()
