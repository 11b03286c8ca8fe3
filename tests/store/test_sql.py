"""SQL as users meet it: what it may not do, where answers go, named queries, the prompt, the documentation."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.errors import StoreError
from tests.conftest import REPOSITORY, assert_one_line, docs_script, run_cli

WRITES = (
    "delete from run",
    "update run set seed = 1",
    "insert into curation values ('a', 'tag', 't', null, null, now()::timestamp)",
    "create table astraios.main.x as select 1",
    "drop view final_loss",
    "create or replace view final_loss as select 1",
    "alter table run add column x int",
    "attach '{folder}/other.db'",
    "attach '{folder}/other.db' as other (type duckdb)",
    "copy (select 1) to '{folder}/out.csv'",
    "copy run to '{folder}/out.parquet'",
    "export database '{folder}/all'",
    "from read_csv('{folder}/secret.csv')",
    "from read_text('{folder}/secret.csv')",
    "from '{folder}/secret.csv'",
    "from glob('{folder}/*')",
    "copy run from '{folder}/secret.csv'",
    "pragma enable_profiling",
    "pragma profiling_output = '{folder}/profile'",
    "set profiling_output = '{folder}/profile'",
    "set log_query_path = '{folder}/log'",
    "call enable_logging(storage = 'file', storage_path = '{folder}/log')",
    "set enable_external_access = true",
    "reset lock_configuration",
    "set temp_directory = '{folder}'",
    "install httpfs",
    "load '{folder}/evil.duckdb_extension'",
    "create persistent secret s (type s3)",
    "use memory; attach '{folder}/other.db'",
    "begin; delete from run; commit",
    "detach astraios",
)


def as_text(row: tuple[object, ...]) -> str:
    """A row to twelve digits: sums of the same numbers in another order differ in the last."""
    return repr([f"{value:.12g}" if isinstance(value, float) else value for value in row])


@pytest.mark.promise("a page shows what the views show")
def test_every_view_answers_the_same_where_many_questions_are_asked(ladder: Path, tmp_path: Path) -> None:
    with store.reading(ladder) as one, store.reading_much(ladder) as much:
        names = [name for (name,) in one.execute("select view_name from duckdb_views() where not internal").fetchall()]
        assert len(names) > 30
        for name in names:
            expected = one.sql(f"from {name}")
            found = much.sql(f"from {name}")
            assert found.columns == expected.columns, name
            assert sorted(map(as_text, found.fetchall())) == sorted(map(as_text, expected.fetchall())), name
        for sql in ("insert into run (run_id) values ('x')", "create table astraios.main.x as select 1",
                    f"copy (select 1) to '{tmp_path}/out.csv'", "from glob('/*')"):  # fmt: skip
            with pytest.raises(StoreError):
                store.run_query(much, sql)


@pytest.mark.promise("readers never wait")
def test_sql_can_not_write(ladder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\nsecret\n")
    before, files = ladder.read_bytes(), sorted(p.name for p in ladder.parent.iterdir())
    for sql in WRITES:
        with pytest.raises(StoreError):
            store.query(ladder, sql.format(folder=tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["secret.csv"]
    assert ladder.read_bytes() == before
    assert sorted(p.name for p in ladder.parent.iterdir()) == files
    assert_one_line(run_cli("sql", WRITES[0], "--db", ladder), 1, "read-only")


@pytest.mark.promise("readers never wait")
def test_sql_can_write_when_asked_all_or_nothing(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    store.ingest(db, tmp_path / "none")
    insert = "insert into tuning_method (method_id, title, kind) values ('x', 'X', 'other')"
    result = run_cli(
        "sql", f"{insert}; select title from tuning_method", "--allow-write", "--db", db, "--format", "csv"
    )
    assert result.stdout == "title\nX\n"
    assert_one_line(run_cli("sql", "delete from tuning_method; selekt", "--allow-write", "--db", db), 1, "selekt")
    assert store.query(db, "select count(*) from tuning_method").item() == 1
    copying = run_cli("sql", f"copy tuning_method to '{tmp_path}/out.csv'", "--allow-write", "--db", db)
    assert_one_line(copying, 1, "file system operations are disabled")
    assert not (tmp_path / "out.csv").exists()


def test_answers_go_into_files(ladder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    query = "select run_id, seed from run where origin = 'measured' order by run_id"
    expected = store.query(ladder, query)
    for ending, read in (
        (".parquet", pl.read_parquet),
        (".csv", pl.read_csv),
        (".json", lambda path: pl.DataFrame(json.loads(path.read_text()))),
    ):
        file = tmp_path / f"out{ending}"
        result = run_cli("sql", query, "-o", file, "--db", ladder)
        assert result.returncode == 0
        assert result.stdout == ""
        assert read(file).equals(expected)  # type: ignore[operator]
    run_cli("sql", query, "-o", tmp_path / "out.md", "--db", ladder)
    assert (tmp_path / "out.md").read_text().startswith("| run_id | seed |")
    assert_one_line(run_cli("sql", query, "-o", tmp_path / "out.xls", "--db", ladder), 2, r"did you mean|known: \.csv")
    assert_one_line(run_cli("sql", query, "--query", "runs", "--db", ladder), 2, "not both")
    monkeypatch.setattr("sys.stdin", __import__("io").StringIO("select 41 + 1 as answer"))
    assert run_cli("sql", "--format", "csv", "--db", ladder).stdout == "answer\n42\n"


def test_named_queries_answer(ladder: Path) -> None:
    listed = run_cli("sql", "--queries").stdout
    for name, words in store.named_queries().items():
        assert name in listed
        assert words.endswith("."), name
        assert run_cli("sql", "--query", name, "--format", "json", "--db", ladder).returncode == 0
    for name in ("best-method-by-size", "runs", "projections", "cost-of-a-hundredth"):
        assert json.loads(run_cli("sql", "--query", name, "--format", "json", "--db", ladder).stdout), name
    assert_one_line(
        run_cli("sql", "--query", "best-metod-by-size", "--db", ladder), 2, "did you mean 'best-method-by-s"
    )


def test_the_prompt_answers_remembers_and_completes(
    ladder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("prompt_toolkit")
    from prompt_toolkit.application import create_app_session
    from prompt_toolkit.document import Document
    from prompt_toolkit.input import create_pipe_input
    from prompt_toolkit.output import DummyOutput

    from astraios.cli import prompt

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))

    def talk() -> None:
        with create_pipe_input() as typed, create_app_session(input=typed, output=DummyOutput()):
            typed.send_text("select 41 +\r1 as answer;\rselekt;\r\\q runs\r\\d final_loss\r\x04")
            prompt.converse(ladder)

    with ThreadPoolExecutor(1) as pool:  # a browser test before it in this process leaves an event loop running
        pool.submit(talk).result()
    shown = capsys.readouterr()
    assert "42" in shown.out
    assert "syntax error" in shown.err
    assert "made to be excluded" in shown.out
    assert "loss_nats" in shown.out
    assert "select 41 +" in prompt.history_file().read_text()
    completer = prompt.completer(store.catalogue(ladder))
    for begun, whole in (("from final_l", "final_loss"), ("select loss_n", "loss_nats"), ("from proj", "project")):
        assert whole in [c.text for c in completer.get_completions(Document(begun), Any)]


def _documented() -> list[tuple[str, str]]:
    """Every SQL block of the documentation, and every query given to `astraios sql` in it."""
    found = []
    for page in [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]:
        text = page.read_text()
        blocks = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
        blocks += re.findall(r"astraios sql (?:--format \w+ )?([\"'])(.*?)\1", text)
        found += [(page.name, block[1] if isinstance(block, tuple) else block) for block in blocks]
    return found


@pytest.mark.promise("every documented query and example runs")
@pytest.mark.parametrize(("page", "sql"), _documented(), ids=lambda text: text.split("\n")[0][:40])
def test_documented_sql_answers(page: str, sql: str, ladder: Path) -> None:
    assert not store.query(ladder, sql.rstrip().rstrip(";")).is_empty(), f"{page}: an example that shows nothing"


@pytest.mark.promise("every documented query and example runs")
def test_the_reference_is_current() -> None:
    generator = docs_script("generate_reference")
    for name, made in (("sql.md", generator.sql_reference()), ("cli.md", generator.cli_reference())):
        kept = (generator.REFERENCE / name).read_text()
        assert kept == made, f"docs/reference/{name} is out of date: python docs/generate_reference.py"
        assert not re.search(r"\|\s+\|$", kept, re.MULTILINE), "everything is described"


def test_stored_sql_reads_alike_under_every_duckdb() -> None:
    """DuckDB 2.0.0 stores a -> b ->> c in a view as 2.0.1 reads a -> (b ->> c): chains have their brackets."""
    files = sorted((REPOSITORY / "db").rglob("*.sql"))
    assert len(files) > 50
    for file in files:
        assert not re.search(r"->>?[^-()]*->", file.read_text()), f"{file.name}: brackets around a chain's first arrow"
