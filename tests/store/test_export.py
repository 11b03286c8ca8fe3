"""Export and import: the same rows, whatever is in them."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astraios import store, workflow
from tests.conftest import assert_one_line, run_cli

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    [
        "",
        " ",
        "null",
        "NULL",
        "NaN",
        '"',
        "''",
        ",",
        "a\nb",
        "\r",
        "\r\n",
        "\\N",
        "é",
        "🦆",
        "\ufeffx",
        "0x1",
        "-",
        "\x00x",
    ]
)
NUMBER = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1 + 0.2])
STEP = st.integers(0, 2**31 - 1)


@st.composite
def databases(draw: st.DrawFn) -> dict[str, pl.DataFrame]:
    """Rows of runs, empty ones too, with losses (a step may stand twice), scores, tags and a fit."""
    run_ids = draw(st.lists(TEXT, unique=True, max_size=4))
    runs = [
        {"run_id": r, "origin": draw(TEXT), "model_id": "m", "method_id": "x", "n_params": draw(st.integers(0, 2**62)),
         "seed": draw(st.none() | st.integers(-(2**62), 2**62)), "learning_rate": draw(st.none() | NUMBER),
         "settings": draw(st.none() | st.just('{"a": [1, "é"]}'))}
        for r in run_ids
    ]  # fmt: skip
    of = st.sampled_from(run_ids) if run_ids else st.nothing()
    losses = draw(st.lists(st.tuples(of, STEP, NUMBER, st.none() | NUMBER), max_size=8)) if run_ids else []
    scores = draw(st.lists(st.tuples(of, TEXT, st.none() | NUMBER), max_size=4)) if run_ids else []
    said = draw(st.lists(st.tuples(of, TEXT, st.none() | TEXT), max_size=3)) if run_ids else []
    frames: dict[str, Any] = {
        "base_model": [{"model_id": "m", "n_params": 1, "architecture": draw(st.none() | TEXT)}],
        "tuning_method": [{"method_id": "x", "title": draw(TEXT), "kind": "other"}],
        "run": runs,
        "attempt": [
            {"run_id": r, "attempt": 1, "state": "done", "error": draw(st.none() | TEXT),
             "finished_at": draw(st.none() | st.datetimes())}
            for r in run_ids
        ],
        "loss_point": [
            {"run_id": r, "attempt": 1, "split": "test", "step": step, "loss_nats": loss, "regularizer": more}
            for r, step, loss, more in losses
        ],
        "score": [
            {"run_id": r, "attempt": 1, "task_id": task, "n_shot": 0, "metric": "m", "value": value}
            for r, task, value in scores
        ],
        "curation": [
            {"run_id": r, "action": "tag", "tag": tag, "reason": why, "created_at": "2026-01-01"}
            for r, tag, why in said
        ],
        "fit": [{"fit_id": "f", "role": draw(TEXT), "quantity": "loss", "law": "l", "estimator": "e",
                 "warnings": "[]", "objective": draw(NUMBER)}],
        "fit_point": [{"fit_id": "f", "observed": draw(NUMBER), "held_out": draw(st.none() | st.booleans())}],
    }  # fmt: skip
    return {table: pl.DataFrame(rows, infer_schema_length=None) for table, rows in frames.items() if rows}


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database without rows, to be copied."""
    db = tmp_path_factory.mktemp("empty") / "a.duckdb"
    store.ingest(db, db.parent / "none")
    return db


def round_trip(db: Path, empty: Path, form: str, folder: Path) -> dict[str, int]:
    shutil.rmtree(folder, ignore_errors=True)
    store.export(db, folder / "export", form)
    again = folder / "again.duckdb"
    shutil.copy(empty, again)
    workflow.import_results(again, str(folder / "export"), workflow.ImportRequest())
    workflow.import_results(again, str(folder / "export"), workflow.ImportRequest())
    return store.differences(db, again)


def check(frames: dict[str, pl.DataFrame], form: str, empty: Path, folder: Path) -> None:
    db = folder / "made.duckdb"
    shutil.copy(empty, db)
    rows = store.import_frames(db, frames)
    for table, n in rows.items():
        assert store.query(db, f"select count(*) from {table}").item() == n
    assert round_trip(db, empty, form, folder / "trip") == {}


@pytest.mark.promise("what is exported comes back")
@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_any_rows_come_back(form: str, empty: Path, tmp_path: Path) -> None:
    @settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
    @given(databases())
    def holds(frames: dict[str, pl.DataFrame]) -> None:
        check(frames, form, empty, tmp_path)

    holds()


@pytest.mark.slow
@pytest.mark.promise("what is exported comes back")
@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_any_rows_come_back_at_length(form: str, empty: Path, tmp_path: Path) -> None:
    @settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
    @given(databases())
    def holds(frames: dict[str, pl.DataFrame]) -> None:
        check(frames, form, empty, tmp_path)

    holds()


@pytest.mark.promise("what is exported comes back")
@pytest.mark.parametrize("form", ["parquet", "csv", "json"])
def test_a_whole_database_comes_back(form: str, ladder: Path, empty: Path, tmp_path: Path) -> None:
    assert round_trip(ladder, empty, form, tmp_path / "trip") == {}


def test_exports_that_can_not_be(ladder: Path, empty: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert_one_line(run_cli("export", tmp_path / "mine", "--db", empty), 1, "holds other files")
    assert_one_line(
        run_cli("export", tmp_path / "new", "--format", "xls", "--db", empty), 2, "known: csv, json, parquet"
    )
    for form, damage, words in (
        ("csv", "x", r"run\.csv"),
        ("json", '{"run_id": \n', r"run\.json, line 1: not JSON"),
        ("parquet", "x", r"run\.parquet: not readable"),
    ):
        folder = tmp_path / form
        store.export(ladder, folder, form)
        (folder / f"run.{form}").write_text(damage)
        assert_one_line(run_cli("import", folder, "--db", tmp_path / "b.duckdb"), 1, words)
        assert not (tmp_path / "b.duckdb").exists()
    (tmp_path / "csv" / "export.json").write_text("{")
    assert_one_line(run_cli("import", tmp_path / "csv", "--db", tmp_path / "b.duckdb"), 1, "not the index of an export")
