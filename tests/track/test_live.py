"""Runs that are being logged: in the database as far as they have come, and told from those of other trackers."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
from pyarrow import parquet

import astraios
from astraios import store
from astraios.runs.directory import RunDirectory
from tests.conftest import REPOSITORY, run_cli
from tests.store.made import make_run

KNOWN: dict[str, Any] = {"model": "mine/small", "method": "lora", "n_params": 1.1e9, "seed": 0}


def states(db: Path) -> list[tuple[str, str, int]]:
    sql = "select run_id, state, max(step) from loss_curve group by all order by all"
    return store.query(db, sql).rows()


def test_a_run_is_taken_in_while_it_is_logged(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    run = astraios.init(**KNOWN, out=out, id="a", tokens_per_step=64)
    other = astraios.init(**KNOWN, out=out, id="b")
    assert store.ingest(db, out).n_live == 2
    for step in range(3):
        run.log({"eval/loss": 3.0 - step, "norm": 1.0}, step=step)
    run.score("reward", {"mean": 0.5}, step=2)
    report = store.ingest(db, out)
    assert (report.n_new, report.n_live, report.n_known) == (0, 1, 1)
    assert states(db) == [("a", "running", 2)]
    assert store.query(db, "from final_loss").is_empty(), "no analysis reads a run without an end"
    other.log({"eval/loss": 2.0}, step=7)
    other._forget()  # As if its process had gone.
    run.finish()
    report = store.ingest(db, out)
    assert (report.n_new, report.n_live, report.n_known) == (1, 1, 0)
    assert states(db) == [("a", "done", 2), ("b", "interrupted", 7)]
    assert store.query(db, "select run_id, loss_nats, n_tokens from final_loss").rows() == [("a", 1.0, 128)]
    assert store.query(db, "select value, step from score_curve").rows() == [(0.5, 2)]
    assert store.query(db, "select count(*) from metric_curve").item() == 3
    assert store.failed_checks(db) == {}
    assert store.check_directories(db, out) == {}
    assert store.ingest(db, out).n_known == 2
    anew = tmp_path / "anew.duckdb"
    store.ingest(anew, out)
    for table in ("loss_point", "score_point", "metric_point", "loss_summary", "run"):
        columns = "*" if table in ("loss_summary", "run") else "* exclude (load_key)"
        query = f"select {columns} from {table} order by all"
        assert store.query(anew, query).equals(store.query(db, query)), table


def test_a_log_of_a_stranger_is_refused_in_a_line(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    run = astraios.init(**KNOWN, out=out, id="a")
    assert run.path is not None
    for line in ('{"split": "test", "step": "x", "n_tokens": 1, "loss_nats": 2.0}', '{"steps": 1}', "[1]", "nothing"):
        (run.path / "losses.jsonl").write_text(line + "\n")
        result = run_cli("ingest", "--out", out, "--db", db)
        assert "Traceback" not in result.stderr
        assert result.returncode == 0
        assert store.failed_checks(db) == {}
    run._forget()


def test_directories_of_before_and_of_now_are_taken_in_together(tmp_path: Path) -> None:
    """Those of before have no learning rates."""
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for name in ("old", "new"):
        make_run(out, name)
    old = out / "old"
    table = parquet.read_table(old / "losses.parquet").drop_columns(["learning_rate"])
    parquet.write_table(table, old / "losses.parquet")
    manifest = json.loads((old / "manifest.json").read_text())
    import hashlib

    manifest["files"]["losses.parquet"]["sha256"] = hashlib.sha256((old / "losses.parquet").read_bytes()).hexdigest()
    (old / "manifest.json").write_text(json.dumps(manifest))
    lines = [line.replace(', "learning_rate": null', "") for line in (old / "losses.jsonl").read_text().splitlines()]
    (old / "losses.jsonl").write_text("\n".join(lines) + "\n")
    assert store.ingest(db, out).n_new == 2
    counts = store.query(db, "select run_id, count(*) from loss_point group by all order by all").rows()
    assert counts == [("new", 5), ("old", 5)]
    assert len(RunDirectory(old).losses()) == 5


def test_a_run_that_wandb_kept_too_is_one_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "wandb"
    files = REPOSITORY / "tests" / "importers" / "files" / "wandb"
    shutil.copytree(files, source)
    for packed in source.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    alone = tmp_path / "alone.duckdb"
    given = ("--set", "n_params=1000")
    assert run_cli("import", source, "--db", alone, *given).returncode == 0
    sql = "select run_id, settings->>'$.run' as id, settings->>'$.project' as project from run order by id"
    imported = store.query(alone, sql)
    twin = imported.filter(pl.col("id") == "lora321").row(0, named=True)

    monkeypatch.setitem(
        sys.modules, "wandb", SimpleNamespace(run=SimpleNamespace(id="lora321", project=twin["project"]))
    )
    run = astraios.init(**KNOWN, out=tmp_path / "runs", id="ours")
    run.log({"eval/loss": 2.0}, step=1)
    run.finish()
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    result = run_cli("import", source, "--db", db, *given, "--json")
    assert result.returncode == 0, result.stderr
    told = json.loads(result.stdout)
    assert [note for note in told["notes"] if "already there as ours" in note]
    expected = {"ours", *imported.filter(pl.col("id") != "lora321")["run_id"]}
    assert set(store.query(db, "select run_id from run")["run_id"]) == expected
    assert set(store.query(db, "select run_id from loss_point")["run_id"]) == expected
    assert store.failed_checks(db) == {}
