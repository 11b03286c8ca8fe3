"""The documentation of importing says what happens: its commands and queries are run, its numbers computed."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from astraios import store
from astraios.importers import IMPORTERS
from tests.conftest import REPOSITORY, run_cli
from tests.importers.conftest import FILES

IMPORTING = (REPOSITORY / "docs/importing.md").read_text()
RESCORING = (REPOSITORY / "docs/rescoring.md").read_text()
SOURCES = {
    "out": "trainer/lora", "wandb": "wandb", "mlruns": "mlflow/mlruns", "logs": "tensorboard", "results": "lm_eval",
    "facts.eval": "inspect/facts.eval", "evaluation_results.json": "bigcode/evaluation_results.json",
    "method_comparison": "peft",
}  # fmt: skip
"""What the documentation's names stand for here."""


def blocks(text: str, language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def tables(text: str) -> list[list[list[str]]]:
    """Rows of each table of a page, without head and rule."""
    found = re.findall(r"^\|.*\n\|[ :|-]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines()] for part in found]


def test_every_format_is_documented() -> None:
    assert sorted(row[1].strip("`") for row in tables(IMPORTING)[0]) == IMPORTERS.names()


@pytest.mark.promise("every documented query and example runs")
def test_the_examples_of_importing_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, file in SOURCES.items():
        (shutil.copytree if (FILES / file).is_dir() else shutil.copy)(FILES / file, tmp_path / name)
    Path("mlflow.db").write_bytes(gzip.decompress((FILES / "mlflow/mlflow.db.gz").read_bytes()))
    Path("runs.csv").write_text("model,method,size,eval_loss\na,LoRA,1.1B,3.5\nb,LoRA,3B,3.2\n")
    Path("history.csv").write_text("_step,_runtime,eval/loss\n0,0.1,4\n10,0.2,3\n")
    commands = [line.split()[1:] for line in blocks(IMPORTING)[0].splitlines()]
    assert len(commands) == 13
    for command in commands:
        result = run_cli(*command, "--db", "a.duckdb")
        assert result.returncode == 0, (command, result.stderr)
    origins = store.query(Path("a.duckdb"), "select origin, count(*) from run group by all order by all").rows()
    assert [origin for origin, _ in origins] == ["imported", "published"]
    assert store.failed_checks(Path("a.duckdb")) == {}
    run = store.query(Path("a.duckdb"), "select run_id from run where run_id like 'trainer-%'").item()
    join = blocks(IMPORTING)[1].replace("RUN", run).split()[1:]
    assert run_cli(*join, "--db", "a.duckdb").returncode == 0
    query, of_samples = blocks(IMPORTING, "sql")
    assert run in store.query(Path("a.duckdb"), query)["run_id"].to_list()
    assert {row[2] for row in store.query(Path("a.duckdb"), of_samples).rows()} == {0.5}


@pytest.mark.promise("every documented query and example runs")
def test_the_queries_and_numbers_of_rescoring(tmp_path: Path) -> None:
    db = tmp_path / "paper.duckdb"
    assert run_cli("import", "paper", "--db", db).returncode == 0
    for query in blocks(RESCORING, "sql"):
        assert len(store.query(db, query))
    shown = tables(RESCORING)
    for name, table in zip(("contradicted", "rescoring", "rescoring-correlation"), shown, strict=False):
        frame = store.query(db, store.named_query(name))
        assert f"--query {name}`" in RESCORING
        assert [list(map(str, row[: len(table[0])])) for row in frame.rows()] == table


def test_adaloras_term_grows_with_the_model() -> None:
    """Drawn with numpy for StarCoderBase's matrices: attention's c_attn and c_proj, and the MLP's c_proj, rank 12."""
    rng = np.random.default_rng(0)
    found = []
    for width in (2048, 2816, 4096, 6144):
        shapes = [(width, width + 256), (width, width), (4 * width, width)]
        sides = [side for shape in shapes for side in shape]
        draws = [rng.normal(0, 0.02, (12, side)) for side in sides for _ in range(6)]
        found.append(0.5 * np.mean([np.linalg.norm(a @ a.T - np.eye(12)) for a in draws]))
    assert [f"{value:.2f}" for value in found] == tables(RESCORING)[3][0][1:]
