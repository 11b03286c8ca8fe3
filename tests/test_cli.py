"""The command line as a user meets it, right and wrong."""

from __future__ import annotations

import errno
import json
import sqlite3
from pathlib import Path

import pytest

from tests.conftest import assert_one_line, run_cli, sweep_toml

COMMANDS = (
    "show",
    "tag",
    "exclude",
    "include",
    "export",
    "db rebuild",
    "collect",
    "fit-scaling",
    "report",
    "sql",
    "status",
    "ingest",
    "import",
    "score",
    "compare",
    "doctor",
    "db check",
)


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = run_cli(*command.split(), "--help")
    assert result.returncode == 0
    assert "Examples:" in result.stdout
    assert f"astraios {command}" in result.stdout


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
@pytest.mark.parametrize("command", [("fit-scaling",), ("report",), ("sql", "select 1"), ("db", "check")])
def test_database_that_is_not_there(command: tuple[str, ...], tmp_path: Path) -> None:
    assert_one_line(run_cli(*command, "--db", tmp_path / "none.duckdb"), 1, "no database .*none.duckdb.*collect")
    assert not (tmp_path / "none.duckdb").exists()


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
def test_database_that_is_empty_or_foreign(tmp_path: Path) -> None:
    empty = tmp_path / "empty.duckdb"
    empty.touch()
    assert_one_line(run_cli("fit-scaling", "--db", empty), 1, "empty file")
    foreign = tmp_path / "foreign.duckdb"
    with sqlite3.connect(foreign) as connection:
        connection.execute("create table t (a)")
    assert_one_line(run_cli("fit-scaling", "--db", foreign), 1, "foreign.duckdb")
    import duckdb

    other = tmp_path / "other.duckdb"
    with duckdb.connect(str(other)) as connection:
        connection.execute("create table mine as select 42 as answer")
    assert_one_line(run_cli("fit-scaling", "--db", other), 1, "not an astraios database")
    assert_one_line(run_cli("ingest", "--db", other, "--out", tmp_path), 1, "tables that are not astraios's")
    with duckdb.connect(str(other)) as connection:
        assert connection.execute("select answer from mine").fetchone() == (42,)
    garbage = tmp_path / "garbage.duckdb"
    garbage.write_bytes(b"no database at all" * 1000)
    assert_one_line(run_cli("fit-scaling", "--db", garbage), 1, "garbage.duckdb")


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
def test_database_without_runs(tmp_path: Path) -> None:
    db = tmp_path / "fresh.duckdb"
    assert run_cli("ingest", "--db", db, "--out", tmp_path / "runs").returncode == 0
    assert_one_line(run_cli("fit-scaling", "--db", db), 1, "no finished run")


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (('"lora"]', '"lorra"]'), "unknown tuning method 'lorra': did you mean 'lora'"),
        (("steps = 6", "stepps = 6"), r"\[train\] unknown field 'stepps': did you mean 'steps'"),
        (("steps = 6", "steps = 'six'"), r"\[train\] steps = 'six'"),
        (("steps = 6", "steps = 0"), r"\[train\] steps = 0"),
        (("[train]", "[train"), "not valid TOML"),
        (
            ('name = "small"', 'extends = "tinny"'),
            "extends = 'tinny': no built-in sweep and no file; did you mean 'tiny'",
        ),
        (("[compute]", "[task.devign]\nlimt = 3\n[compute]"), r"\[task.devign\] unknown field 'limt'"),
        (('name = "small"', ""), "name is missing"),
        (('"next-token"', '"next-tokn"'), "unknown task 'next-tokn'"),
        (('source = "table"', 'source = "tabel"'), "unknown data source 'tabel'"),
        (
            ('source = "table"', 'source = "table"\nsequence_lenght = 64'),
            r"\[data\] unknown field 'sequence_lenght': did you",
        ),
        (
            ('source = "table"', 'source = "table"\ntest_shar = 0.1'),
            r"\[data\] unknown field 'test_shar': did you mean",
        ),
        (
            ('source = "table"', 'source = "table"\ntest_share = "a"'),
            r"\[data\] test_share = 'a': must be of type float",
        ),
        (("seeds = [0]", "seeds = [0, 0]"), "seeds names the same thing twice"),
        (("batch_size = 2", "batch_size = 3"), "no multiple of micro_batch"),
        (("[method.lora]", "[method.lora]\nrnk = 4"), "'lora' has no setting 'rnk': did you mean 'rank'"),
    ],
)
def test_sweeps_that_make_no_sense(
    change: tuple[str, str], pattern: str, small_models: list[str], pairs_file: Path, tmp_path: Path
) -> None:
    text = sweep_toml(small_models, pairs_file)
    assert change[0] in text
    path = tmp_path / "bad.toml"
    path.write_text(text.replace(*change))
    result = run_cli("collect", path, "--out", tmp_path / "runs", "--db", tmp_path / "a.duckdb")
    assert_one_line(result, 2, pattern)
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "a.duckdb").exists()


def test_unknown_sweep_model_and_filter(small_sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert_one_line(run_cli("collect", "tinny"), 2, "no sweep 'tinny'.*did you mean 'tiny'")
    assert_one_line(run_cli("collect", small_sweep, "--only", "method=lora"), 2, "KEY=VALUE")
    assert_one_line(run_cli("collect", small_sweep, "--only", "method_id=ia3"), 2, "no cell")
    assert_one_line(run_cli("collect", small_sweep, "--launcher", "cloud"), 2, "unknown launcher 'cloud'")


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
def test_folder_that_cannot_be_written(small_sweep: Path, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    result = run_cli("collect", small_sweep, "--out", blocker / "runs", "--db", tmp_path / "a.duckdb")
    assert_one_line(result, 1, "runs")
    result = run_cli("collect", small_sweep, "--out", tmp_path / "runs", "--db", blocker / "a.duckdb")
    assert_one_line(result, 1, "file")


@pytest.mark.promise("every command helps by an example, answers at once, and says what is wrong in one line")
def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report that does not fit leaves the last one as it was."""
    db, page = tmp_path / "a.duckdb", tmp_path / "report.html"
    assert run_cli("ingest", "--db", db, "--out", tmp_path / "runs").returncode == 0
    assert run_cli("report", "--db", db, "-o", page).returncode == 0
    before = page.read_text()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("astraios.files.os.fsync", full)
    assert_one_line(run_cli("report", "--db", db, "-o", page), 1, "the disk is full")
    assert page.read_text() == before


def test_sql_formats_and_refusals(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    run_cli("ingest", "--db", db, "--out", tmp_path / "runs")
    query = "select 1 as a, 'x|y' as b"
    assert json.loads(run_cli("sql", query, "--db", db, "--format", "json").stdout) == [{"a": 1, "b": "x|y"}]
    assert run_cli("sql", query, "--db", db, "--format", "csv").stdout == "a,b\n1,x|y\n"
    assert "| 1 | x\\|y |" in run_cli("sql", query, "--db", db, "--format", "markdown").stdout
    assert_one_line(run_cli("sql", query, "--db", db, "--format", "xml"), 2, "xml")
    for bad, pattern in (
        ("select * from nothing", "nothing does not exist"),
        ("delete from run", "read-only"),
        (f"copy (select 1) to '{tmp_path}/x.csv'", "disabled"),
        (f"attach '{tmp_path}/y.db'", "disabled"),
        ("selekt", "syntax error"),
    ):
        assert_one_line(run_cli("sql", bad, "--db", db), 1, pattern)
    assert not (tmp_path / "x.csv").exists()
