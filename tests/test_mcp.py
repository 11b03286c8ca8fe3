"""The server for assistants, asked by the protocol's own client: it answers as the commands do, and writes nothing."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, assert_one_line, run_cli

mcp = pytest.importorskip("mcp")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods at five sizes, imported from a table."""
    import polars as pl

    folder = tmp_path_factory.mktemp("mcp")
    rows = [
        {"run_id": f"{method}-{i}", "method": method, "model": f"m{i}", "n_params": n, "dataset": "pairs",
         "test_loss": 1.7 + floor + 90 * n**-0.3}
        for method, floor in (("lora", 0.0), ("fft", 0.2))
        for i, n in enumerate((1e7, 3e7, 1e8, 3e8, 1e9))
    ]  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "runs.csv")
    db = folder / "a.duckdb"
    result = run_cli("import", folder / "runs.csv", "--db", db)
    assert result.returncode == 0, result.stderr
    return db


def awaited(said: Coroutine[Any, Any, Any]) -> Any:
    """What it comes to, in its own thread: a browser that an earlier test opened leaves its loop running in ours."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, said).result()


def asked(db: Path, *calls: tuple[str, dict[str, Any]]) -> list[tuple[bool, Any]]:
    """Each answer of a server in a process of its own: whether it is an error, and what it says."""

    async def converse() -> list[tuple[bool, Any]]:
        parameters = mcp.StdioServerParameters(
            command=sys.executable,
            args=["-m", "astraios.cli", "mcp", "--db", str(db)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        answers = []
        async with mcp.Client(parameters) as client:
            for name, arguments in calls:
                answer = await client.call_tool(name, arguments)
                said = answer.structured_content
                text = " ".join(part.text for part in answer.content)
                answers.append((bool(answer.is_error), text if said is None else said.get("result", said)))
        return answers

    answers: list[tuple[bool, Any]] = awaited(converse())
    return answers


def test_it_answers_as_the_commands_do(database: Path) -> None:
    before = hashlib.sha256(database.read_bytes()).hexdigest()
    query = "select method_id, n_params, loss_nats from final_loss order by all"
    run = json.loads(run_cli("sql", "select min(run_id) as r from run", "--format", "json", "--db", database).stdout)[
        0
    ]["r"]
    (_, studies), (_, rows), (_, few), (_, fit), (_, shown), (_, tables), (_, columns) = asked(
        database,
        ("studies", {}),
        ("sql", {"query": query}),
        ("sql", {"query": query, "limit": 3}),
        ("fit", {"target": ["10B"]}),
        ("show", {"run": run}),
        ("tables", {}),
        ("tables", {"name": "final_loss"}),
    )
    assert studies == json.loads(run_cli("studies", "--json", "--db", database).stdout)
    assert rows["rows"] == json.loads(run_cli("sql", query, "--format", "json", "--db", database).stdout)
    assert len(rows["rows"]) == 10
    assert (len(few["rows"]), few["left_off"]) == (3, 7)
    [best] = [row for row in fit["ranking"] if row["p_best"] > 0.5]
    assert (best["method_id"], best["n_params"]) == ("lora", 1e10)
    assert {warning["code"] for warning in fit["warnings"]} >= {"assumed_base_noise"}
    assert shown["run"]["run_id"] == run
    assert {"final_loss", "run", "score_point"} <= {row["name"] for row in tables}
    assert {"name": "loss_nats", "type": "DOUBLE", "holds": "Loss at the last evaluation, nats a token."} in columns
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before, "a projection was recorded"


def test_it_can_write_nothing(database: Path, tmp_path: Path) -> None:
    before, target = hashlib.sha256(database.read_bytes()).hexdigest(), tmp_path / "x.csv"
    (tmp_path / "secret.csv").write_text("a\n1\n")
    answers = asked(
        database,
        *(
            ("sql", {"query": text})
            for text in (
                "delete from run",
                "create table mine (a integer)",
                f"copy (select 1) to '{target}'",
                f"from read_csv('{tmp_path}/secret.csv')",
                "attach 'b.duckdb'",
                "set enable_external_access = true",
                "install httpfs",
                "select 1; drop table run",
            )
        ),
        ("sql", {"query": "select no_such_column from run"}),
        ("show", {"run": "nobody"}),
        ("fit", {"target": ["10B"], "study": "nothing"}),
        ("tables", {"name": "nothing"}),
    )
    assert all(error for error, _ in answers), answers
    assert all("Traceback" not in text for _, text in answers)
    assert "no table or view 'nothing'" in answers[-1][1]
    assert "no_such_column" in answers[-4][1]
    assert not target.exists()
    assert hashlib.sha256(database.read_bytes()).hexdigest() == before


def test_tools_say_that_they_only_read(database: Path) -> None:
    from astraios.mcp import server

    tools = awaited(server(database).list_tools())
    assert {tool.name for tool in tools} >= {"studies", "tables", "sql", "fit", "show"}
    assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools)
    assert all(tool.description for tool in tools)


def test_no_database_is_one_line(tmp_path: Path) -> None:
    assert_one_line(run_cli("mcp", "--db", tmp_path / "none.duckdb"), 1, "no database .*none.duckdb")


def test_names_of_the_package_are_complete() -> None:
    import astraios

    assert {"fit", "init", "open_db", "studies", "Sweep", "load_fit"} <= set(dir(astraios))
