"""The database: schema, ingest, damage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from astraios import store
from astraios.errors import StoreError
from astraios.records import LossPoint
from astraios.runs.directory import RunDirectory
from tests.store.made import make_run


def test_ingest_is_idempotent(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for i in range(3):
        make_run(out, f"run{i}")
    assert store.ingest(db, out).n_new == 3
    report = store.ingest(db, out)
    assert (report.n_new, report.n_known) == (0, 3)
    assert store.query(db, "select count(*) as n from loss_point")["n"][0] == 15
    final = store.query(db, "select loss_nats, min_loss, mean_last5_loss, step, bits_per_byte from final_loss").row(0)
    assert final[:4] == pytest.approx((3.6, 3.6, 3.8, 4))
    assert final[4] == pytest.approx(3.6 / 0.6931471805599453 / 2.0)


def test_tampered_and_torn_files_are_refused_whole(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    good, bad, torn = (make_run(out, name) for name in ("good", "bad", "torn"))
    content = bytearray((bad.path / "losses.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (bad.path / "losses.parquet").write_bytes(bytes(content))
    (torn.path / "manifest.json").write_text((torn.path / "manifest.json").read_text()[:100])
    report = store.ingest(db, out)
    assert report.n_new == 1
    assert set(report.skipped) == {"bad", "torn"}
    assert "losses.parquet is not what the manifest says" in report.skipped["bad"]
    assert store.query(db, "select run_id from run")["run_id"].to_list() == [good.path.name]


def test_a_manifest_that_lacks_what_it_should_have_is_refused(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for name, spoil in (
        ("rows", lambda m: m["files"]["losses.parquet"].pop("rows")),
        ("files", lambda m: m.update(files=[])),
        ("count", lambda m: m["files"]["losses.parquet"].update(rows=7)),
        ("tries", lambda m: m["rows"].update(attempts=[])),
        ("base", lambda m: m["rows"].pop("base_model")),
        ("size", lambda m: m["rows"]["run"].update(n_params=None)),
    ):
        path = make_run(out, name).path / "manifest.json"
        manifest = json.loads(path.read_text())
        spoil(manifest)
        path.write_text(json.dumps(manifest))
    make_run(out, "good")
    report = store.ingest(db, out)
    assert report.n_new == 1
    assert set(report.skipped) == {"rows", "files", "count", "tries", "base", "size"}
    assert "run.n_params is missing" in report.skipped["size"]
    assert "not as many rows" in report.skipped["count"]
    assert all("have it" in reason or "have the run done again" in reason for reason in report.skipped.values())


def test_manifests_keep_their_keys(tmp_path: Path) -> None:
    """Format 1: what is written now has the keys that it had before there were records, and those that came since."""
    content = make_run(tmp_path, "run0").manifest()
    assert content is not None
    assert content["format"] == 1
    assert set(content["files"]) == {"losses.parquet", "scores.parquet", "samples.parquet"}
    rows = content["rows"]
    assert set(rows) == {"sweep_json", "run", "base_model", "tuning_method", "tasks", "evaluations", "attempts"}
    assert set(rows["run"]) >= {
        "run_id", "origin", "model_id", "method_id", "dataset_id", "seed", "n_params", "n_params_nonembedding",
        "n_trainable", "n_tokens", "steps", "tokens_per_step", "train_flops", "learning_rate", "bytes_per_token",
        "settings",
    }  # fmt: skip
    assert not set(rows["run"]) & {"sweep_id", "created_at"}, "known when it is taken in"
    assert set(rows["attempts"][0]) == {"attempt", "state", "started_at", "finished_at", "device_seconds"}
    assert set(rows["evaluations"][0]) == {
        "task_id", "n_shot", "n_items", "isolation", "wall_seconds", "settings", "gold_revision",
    }  # fmt: skip


def test_a_manifest_with_fewer_and_other_keys_says_the_same(tmp_path: Path) -> None:
    """Those of before left out what was null, and kept more of an attempt than the database does."""
    path = make_run(tmp_path / "now", "run0").path
    shutil.copytree(path, tmp_path / "before" / "run0")
    manifest = tmp_path / "before" / "run0" / "manifest.json"
    content = json.loads(manifest.read_text())
    for name in ("run", "base_model", "tuning_method"):
        content["rows"][name] = {key: value for key, value in content["rows"][name].items() if value is not None}
    content["rows"]["attempts"][0] |= {"tuning_seconds": 1.0, "setup_seconds": 2.0}
    manifest.write_text(json.dumps(content))
    for name in ("now", "before"):
        store.ingest(tmp_path / f"{name}.duckdb", tmp_path / name)
    assert store.differences(tmp_path / "now.duckdb", tmp_path / "before.duckdb") == {"attempt": 2}, "the hash differs"
    sql = "select * exclude (content_hash) from attempt"
    assert store.query(tmp_path / "now.duckdb", sql).equals(store.query(tmp_path / "before.duckdb", sql))


def test_torn_lines_are_left_out(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "r")
    directory.start("{}")
    directory.append_loss(LossPoint("test", 0, 0, 4.0))
    directory.append_loss(LossPoint("test", 1, 100, 3.9))
    directory.flush()
    with open(directory.path / "losses.jsonl", "ab") as file:
        file.write(b'{"split": "test", "st')
    directory = RunDirectory(directory.path)
    assert [p.step for p in directory.losses()] == [0, 1]
    directory.append_loss(LossPoint("test", 2, 200, 3.8))
    directory.append_loss(LossPoint("test", 1, 100, 3.7))
    assert [(p.step, p.loss_nats) for p in directory.losses()] == [
        (0, 4.0),
        (1, 3.7),
        (2, 3.8),
    ], "nothing hangs on to the torn line; the last of a step counts"


def test_stopped_just_before_the_manifest_it_is_the_same_try(tmp_path: Path) -> None:
    directory = make_run(tmp_path, "run0")
    (directory.path / "manifest.json").unlink()
    assert directory.start("{}")[0] == 1
    make_run(tmp_path, "run0")
    assert [(a["attempt"], a["state"]) for a in directory.attempts()] == [(1, "done")]
    directory._append("attempts.jsonl", {"attempt": 1, "state": "failed", "error": "why"})
    assert directory.start("{}")[0] == 2, "after a failure a new try begins"


def test_a_locked_database_is_waited_for_and_then_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    make_run(out, "run0")
    store.ingest(db, out)
    script = f"import duckdb, time; c = duckdb.connect({str(db)!r}); print('held', flush=True); time.sleep(30)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        monkeypatch.setattr(store.lock, "PATIENCE_S", 0.3)
        with pytest.raises(StoreError, match=rf"held by another process.*{holder.pid}"):
            store.query(db, "select 1")
        monkeypatch.setattr(store.lock, "PATIENCE_S", 30.0)
        threading.Timer(0.5, holder.kill).start()
        start = time.monotonic()
        assert store.query(db, "select 1 as a")["a"][0] == 1
        assert time.monotonic() - start > 0.2


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    import duckdb

    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    with duckdb.connect(str(db)) as connection:
        connection.execute("insert into schema_migration values ('9999_future', 'x', null)")
    for call in (lambda: store.query(db, "select 1"), lambda: store.ingest(db, tmp_path / "runs")):
        with pytest.raises(StoreError, match="newer astraios"):
            call()


def test_every_table_view_and_column_is_described(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    assert store.query(db, "select table_name from duckdb_tables() where comment is null").is_empty()
    assert store.query(db, "select view_name from duckdb_views() where not internal and comment is null").is_empty()
    columns = store.query(
        db,
        "select table_name, column_name from duckdb_columns() join duckdb_tables() using (table_name) "
        "where duckdb_columns.comment is null and table_name <> 'schema_migration'",
    )
    assert columns.is_empty(), columns


def test_views_can_be_queried_when_empty(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    for name in store.sql_files("views"):
        store.query(db, f"from {name}")
    assert store.failed_checks(db) == {}


def test_checks_find_what_is_wrong(tmp_path: Path) -> None:
    import duckdb

    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    make_run(out, "run0")
    store.ingest(db, out)
    assert store.failed_checks(db) == {}
    damage = {
        "loss_point_unique": "insert into loss_point select * from loss_point limit 1",
        "score_point_unique": "insert into score_point (run_id, attempt, task_id, metric, step, value) "
        "values ('run0', 1, 't', 'm', 1, 0), ('run0', 1, 't', 'm', 1, 0)",
        "metric_point_unique": "insert into metric_point (run_id, attempt, name, step, value) "
        "values ('run0', 1, 'm', 1, 0), ('run0', 1, 'm', 1, 0)",
        "attempt_has_run": "insert into attempt (run_id, attempt, state) values ('nobody', 1, 'done')",
        "rows_have_attempt": "insert into score (run_id, attempt, task_id, n_shot, metric) select 'x', 1, 't', 0, 'm'",
        "run_names_known": "update run set method_id = 'unheard-of'",
        "summary_matches_points": "update loss_summary set last_loss = 0",
        "rows_have_fit": "insert into fit_parameter (fit_id, name) values ('none', 'alpha')",
        "score_unique": "insert into score select * from score",
        "sample_score_unique": "insert into sample_score select * from sample_score",
        "loss_summary_unique": "insert into loss_summary select * from loss_summary",
        "load_key_matches": "update loss_point set load_key = load_key + 1",
        "curation_has_run": "insert into curation values ('run0', 'exclude', null, null, null, now()::timestamp)",
        "sizes_positive": "update run set n_params = 0",
        "fit_parameter_unique": "insert into fit_parameter (fit_id, name) values ('a', 'b'), ('a', 'b')",
    }
    assert set(damage) == set(store.sql_files("checks")), "every check is proven to find something"
    for check, sql in damage.items():
        copy = tmp_path / f"{check}.duckdb"
        copy.write_bytes(db.read_bytes())
        with duckdb.connect(str(copy)) as connection:
            connection.execute(sql)
        assert check in store.failed_checks(copy)


def test_the_wheel_brings_the_sql(tmp_path: Path) -> None:
    """Built, unpacked elsewhere, and opened there: a new database needs nothing of the repository."""
    import zipfile

    from tests.conftest import REPOSITORY

    pytest.importorskip("hatchling")
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = list(WheelBuilder(str(REPOSITORY)).build(directory=str(tmp_path / "dist"), versions=["standard"]))
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import astraios; from astraios import store; "
        "assert astraios.__file__.startswith(sys.argv[1]); from pathlib import Path; "
        "store.ingest(Path(sys.argv[2]), Path('none')); print(len(store.query(Path(sys.argv[2]), 'from final_loss')))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "site"), str(tmp_path / "a.duckdb")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stdout.strip() == "0", result.stderr


def test_a_setting_may_have_any_name(tmp_path: Path) -> None:
    """One that begins as a path does ended every question about runs."""
    settings = ({"$x": 1, "/y": "a", "z.w": 0}, {"$x": 2, "/y": "a", "z.w": 0}, {"$x": 2, "/y": "b", "z.w": None})
    runs = [
        {"run_id": f"r{i}", "origin": "imported", "model_id": "made/a", "method_id": "lora", "seed": 0, "n_params": 10,
         "settings": json.dumps({"settings": one})}
        for i, one in enumerate(settings)
    ]  # fmt: skip
    frames = {
        "base_model": [{"model_id": "made/a", "n_params": 10}],
        "tuning_method": [{"method_id": "lora", "title": "LoRA", "kind": "other"}],
        "run": runs,
        "attempt": [{"run_id": run["run_id"], "attempt": 1, "state": "done"} for run in runs],
    }
    db = tmp_path / "a.duckdb"
    store.import_frames(db, {name: pl.DataFrame(rows) for name, rows in frames.items()})
    found = store.query(db, "select series from run_series order by run_id")["series"].to_list()
    assert found == ["lora $x=1 /y=a z.w=0", "lora $x=2 /y=a z.w=0", "lora $x=2 /y=b z.w=none"]
