"""Readers and writers at once, old and newer schemas, damage, a full disk, rebuilding."""

from __future__ import annotations

import gzip
import importlib.util
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from astraios import store
from astraios.errors import StoreError
from astraios.runs.rows import Ending
from tests.conftest import REPOSITORY, assert_one_line, run_cli
from tests.store.made import make_run, rows_of

OLD = sorted((REPOSITORY / "tests" / "databases").glob("*.duckdb.gz"))


def n_runs(db: Path) -> int:
    return int(store.query(db, "select count(*) from run").item())


@pytest.mark.promise("readers never wait")
def test_a_reader_and_a_writer_never_meet(tmp_path: Path) -> None:
    """While one process writes, a read succeeds at once; while one reads, a write succeeds at once."""
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    make_run(out, "run0")
    store.ingest(db, out)
    with store.writing(db) as connection:
        connection.execute("delete from run")
        script = (
            f"from astraios import store; print(len(store.query(__import__('pathlib').Path({str(db)!r}), 'from run')))"
        )
        other = subprocess.run(
            [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        assert other.stdout == "1\n", "another process reads the version before"
        assert n_runs(db) == 1, "and so does this one"
    assert n_runs(db) == 0
    reader = store.open_db(db)
    script = "import time; from astraios import store; c = store.open_db(); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "ASTRAIOS_DB": str(db)},
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        make_run(out, "run1")
        start = time.monotonic()
        assert store.ingest(db, out).n_new == 1
        assert time.monotonic() - start < store.lock.PATIENCE_S / 2
        holder.kill()
    assert len(reader.sql("from run").fetchall()) == 0, "an open connection keeps its version"
    assert n_runs(db) == 1


@pytest.mark.promise("killed writers lose nothing")
def test_a_writer_that_waits_is_told_for_whom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "runs")
    script = f"""
import pathlib, time
from astraios import store
with store.writing(pathlib.Path({str(db)!r})):
    print("held", flush=True)
    time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        monkeypatch.setattr(store.lock, "PATIENCE_S", 0.3)
        make_run(tmp_path / "runs", "run0")
        assert_one_line(
            run_cli("ingest", "--db", db, "--out", tmp_path / "runs"),
            1,
            rf"held by another process \(PID {holder.pid} on",
        )
        monkeypatch.setattr(store.lock, "PATIENCE_S", 60.0)
        threading.Timer(0.5, holder.kill).start()
        assert store.ingest(db, tmp_path / "runs").n_new == 1, "a killed holder keeps nobody waiting"


def test_threads_wait_for_each_other(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for i in range(4):
        make_run(out / str(i), f"run{i}")
    threads = [threading.Thread(target=store.ingest, args=(db, out / str(i))) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert n_runs(db) == 4


@pytest.mark.parametrize("old", OLD, ids=lambda path: path.name.split(".")[0])
def test_every_released_schema_is_brought_up_to_date(old: Path, tmp_path: Path) -> None:
    import duckdb

    db = tmp_path / "a.duckdb"
    db.write_bytes(gzip.decompress(old.read_bytes()))
    with duckdb.connect(str(db), read_only=True) as connection:
        before = connection.execute("select name from schema_migration order by name").fetchall()
    assert before[-1][0] == old.name.split(".")[0]
    assert store.query(db, "select run_id, split, loss_nats, bits_per_byte is not null from final_loss").rows() == [
        ("run0", "test", 3.6, True)
    ]
    assert store.query(db, "select value from final_score").rows() == [(0.5,)]
    assert store.query(db, "select value from fit_parameter").rows() == [(0.1,)]
    assert store.query(db, "select count(*) from schema_migration").item() == len(store.sql_files("migrations"))
    assert store.failed_checks(db) == {}
    kept = list(tmp_path.glob("a.duckdb.before-*"))
    assert len(kept) == (len(before) < len(store.sql_files("migrations"))), "one of today's schema loses nothing"
    for copy in kept:
        with duckdb.connect(str(copy), read_only=True) as connection:
            assert connection.execute("select name from schema_migration order by name").fetchall() == before
    make_run(tmp_path / "runs", "run1")
    assert store.ingest(db, tmp_path / "runs").n_new == 1
    fresh = tmp_path / "fresh.duckdb"
    store.ingest(fresh, tmp_path / "none")
    columns = "select table_name, column_name, data_type from duckdb_columns() where not internal order by all"
    assert store.query(db, columns).equals(store.query(fresh, columns)), (
        "an old database ends with the new one's schema"
    )


def test_every_schema_but_the_newest_is_kept() -> None:
    names = [path.name.removesuffix(".duckdb.gz") for path in OLD]
    assert names == [name for name in store.sql_files("migrations") if name in names]
    assert len(names) >= len(store.sql_files("migrations")) - 1


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = tmp_path / "a.duckdb"
    make_run(tmp_path / "runs", "run0")
    store.ingest(db, tmp_path / "runs")
    before = db.read_bytes()
    files = store.sql_files("migrations")
    broken = {**files, "9999_broken": "create table half (a int); create table half (a int)"}
    monkeypatch.setattr(store.schema, "sql_files", lambda folder: broken if folder == "migrations" else {})
    with pytest.raises(StoreError, match="half"):
        store.query(db, "from run")
    assert db.read_bytes() == before
    monkeypatch.undo()
    assert n_runs(db) == 1


def test_damage_is_noticed_and_mended(tmp_path: Path) -> None:
    """A truncated file is refused, a flipped byte found, and rebuilding brings all back."""
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for i in range(3):
        make_run(out, f"run{i}", losses=3000)
    store.ingest(db, out)
    whole = db.read_bytes()
    for damaged in (whole[:5000], whole[: len(whole) // 2], _flipped(whole)):
        db.write_bytes(damaged)
        assert_one_line(run_cli("db", "check", "--db", db, "--out", out), 1, "astraios db rebuild")
        result = run_cli("db", "rebuild", "--db", db, "--out", out)
        assert result.returncode == 0, result.stderr
        assert "lost: imports, fits and curation" in result.stderr
        assert run_cli("db", "check", "--db", db, "--out", out).returncode == 0
        assert (tmp_path / "a.duckdb.before-rebuild").read_bytes() == damaged, "what is left of it is kept"
        (tmp_path / "b.duckdb").write_bytes(whole)
        assert store.differences(db, tmp_path / "b.duckdb") == {}


def _flipped(content: bytes) -> bytes:
    """With a byte changed in a block of the long table."""
    changed = bytearray(content)
    changed[len(changed) - 300_000] ^= 0xFF
    return bytes(changed)


def test_check_compares_with_the_run_directories(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    runs = [make_run(out, f"run{i}") for i in range(4)]
    store.ingest(db, out)
    make_run(out, "late")
    (runs[1].path / "scores.parquet").write_bytes(b"x")
    (runs[2].path / "manifest.json").write_text("{")
    with store.writing(db) as connection:
        connection.execute("delete from loss_point where run_id = 'run3' and step = 2")
    wrong = store.check_directories(db, out)
    assert set(wrong) == {"late", "run1", "run2", "run3"}
    assert "not in the database" in wrong["late"]
    assert "5 losses there, 4 in the database" in wrong["run3"]
    result = run_cli("db", "check", "--db", db, "--out", out)
    assert result.returncode == 1
    assert "run1: scores.parquet is not what the manifest says" in result.stderr


def test_rebuilding_carries_over_what_only_the_database_holds(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    for i in range(3):
        make_run(out, f"run{i}")
    store.ingest(db, out)
    with store.writing(db) as connection:
        connection.execute("insert into curation values ('run0', 'tag', 'good', null, null, now()::timestamp)")
        connection.execute("insert into fit (fit_id, role, quantity, law, estimator) values ('f', 'a', 'b', 'c', 'd')")
        connection.execute("insert into correlation (origin, x, y, coefficient) values ('a', 'b', 'c', 'd')")
    run_cli("import", "paper", "--db", db)
    shutil.rmtree(out / "run1")
    (out / "run2" / "losses.parquet").write_bytes(b"")
    report = store.rebuild(db, out)
    assert (report.n_runs, report.lost) == (1, None)
    assert report.n_carried == n_runs(db) - 1, (
        "the paper's, one whose directory is gone, one whose directory is damaged"
    )
    assert "run2" in report.skipped
    assert store.differences(db, tmp_path / "a.duckdb.before-rebuild") == {}
    assert_one_line(run_cli("db", "rebuild", "--db", tmp_path / "no.duckdb", "--out", tmp_path / "no"), 1, "nothing to")
    assert not (tmp_path / "no.duckdb").exists()


@pytest.mark.parametrize("batch", [1, 100])
def test_of_two_states_of_a_run_the_later_counts(batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["astraios.store.ingest"], "BATCH", batch)
    db = tmp_path / "a.duckdb"
    make_run(tmp_path / "old", "run0", losses=2)
    shutil.copytree(tmp_path / "old", tmp_path / "new")
    (tmp_path / "new" / "run0" / "manifest.json").unlink()
    directory = make_run(tmp_path / "new", "run0", losses=4)
    directory.finish(
        rows_of("run0"),
        Ending(attempt=1, state="done", started_at="2026-01-01T00:00:00", finished_at="2999-01-01T00:00:00"),
        {},
    )
    store.ingest(db, tmp_path / "new")
    assert "later state" in store.ingest(db, tmp_path / "old").skipped["run0"]
    # Its name comes first: the older state is there when the newer one arrives.
    shutil.copytree(tmp_path / "old" / "run0", tmp_path / "new" / "copy of run0")
    both = store.rebuild(tmp_path / "b.duckdb", tmp_path / "new")
    assert list(both.skipped) == (["copy of run0"] if batch > 1 else [])
    assert store.differences(db, tmp_path / "b.duckdb") == {}


def test_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for i in range(4):
        make_run(out / str(i), f"run{i}")
        path = out / str(i) / f"run{i}" / "manifest.json"
        path.write_text(path.read_text().replace('"title": "T"', f'"title": "T{(i * 7) % 4}"'))
    for i in range(4):
        store.ingest(tmp_path / "a.duckdb", out / str(i))
        store.ingest(tmp_path / "b.duckdb", out / str(3 - i))
    assert store.differences(tmp_path / "a.duckdb", tmp_path / "b.duckdb") == {}


@pytest.mark.promise("killed writers lose nothing")
def test_full_disk_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the write that passes it fails in the same way."""
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    make_run(out, "run0")
    store.ingest(db, out)
    before = db.read_bytes()
    for i in range(1, 4):
        make_run(out, f"run{i}", losses=8_000)
    for limit in (len(before) // 2, len(before) + 4096):
        result = subprocess.run(
            [sys.executable, "-m", "astraios.cli", "ingest", "--db", str(db), "--out", str(out)],
            cwd=REPOSITORY,
            preexec_fn=lambda limit=limit: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert_one_line(result, 1, "the disk is full.*free some space")
        assert db.read_bytes() == before
        assert n_runs(db) == 1
        assert not (tmp_path / "a.duckdb.writing").exists()
    assert store.ingest(db, out).n_new == 3


def test_watch_takes_in_what_gets_finished(tmp_path: Path) -> None:
    out, db = tmp_path / "runs", tmp_path / "a.duckdb"
    make_run(out, "run0")
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "astraios.cli",
            "ingest",
            "--watch",
            "--every",
            "0.1",
            "--db",
            str(db),
            "--out",
            str(out),
        ],
        cwd=REPOSITORY,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "1 new runs, 0 known, 0 skipped\n"
        make_run(out, "run1")
        assert process.stderr.readline() == "1 new runs, 1 known, 0 skipped\n"
        process.send_signal(2)
        assert process.wait() == 130
    assert n_runs(db) == 2


def test_run_directories_are_read_from_any_file_system(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    make_run(tmp_path, "run0")
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "run0"), "/bucket/runs/run0", recursive=True)
    db = tmp_path / "a.duckdb"
    assert store.ingest(db, "memory://bucket/runs").n_new == 1
    assert store.ingest(db, "memory://bucket/runs").n_known == 1
    store.ingest(tmp_path / "b.duckdb", tmp_path)
    assert store.differences(db, tmp_path / "b.duckdb") == {}
    memory.pipe("/bucket/runs/run0/losses.parquet", b"")
    assert "losses.parquet" in store.check_directories(db, "memory://bucket/runs")["run0"]
    with pytest.raises(StoreError, match="nonsense"):
        store.ingest(db, "nonsense://bucket")


def test_names_of_lakes(tmp_path: Path) -> None:
    """What a lake's name says, and what is refused before anything is asked of Postgres."""
    from astraios.store import lake

    name = Path("ducklake:postgres:dbname=lab host=db.lab data_path=s3://bucket/lab")
    assert lake.is_lake(name)
    assert lake._words(name) == ({"dbname": "lab", "host": "db.lab"}, "s3://bucket/lab")
    for bad, words in (
        ("ducklake:sqlite:x", "ducklake:postgres:dbname=NAME"),
        ("ducklake:postgres:lab", "KEY=VALUE"),
        ("ducklake:postgres:dbname=lab password=secret", "pgpass"),
    ):
        result = run_cli("sql", "select 1", "--db", bad)
        assert_one_line(result, 1, words)
        assert "secret" not in result.stderr
    if importlib.util.find_spec("duckdb_extension_ducklake") is None:
        assert_one_line(run_cli("sql", "select 1", "--db", name), 1, r"pip install 'astraios\[ducklake\]'")
    assert not (tmp_path / "ducklake:postgres:lab").exists()
