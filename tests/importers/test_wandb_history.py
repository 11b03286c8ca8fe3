"""W&B's exported history: the rows of a run, and the CSV of a chart; both made from what wandb logged in files/wandb.

The exports need W&B's server, so they are made by hand in its form: `run.scan_history()` as JSON lines, `run.history()`
as CSV by pandas, and a chart's CSV with its __MIN and __MAX.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from astraios import store
from astraios.importers._runs import Skipped
from astraios.importers.wandb import _read
from tests.conftest import assert_one_line, run_cli
from tests.importers.conftest import FILES, content

SIZED = ("--set", "n_params=59000", "--set", "method_id=lora")
EXPECTED = [(0, 4.0), (10, 3.8), (20, 3.6), (30, 3.4), (40, 3.25), (50, math.nan), (60, math.inf)]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    """The rows that wandb wrote for the run with a step metric."""
    run = _read(next(FILES.glob("wandb/*/run-lora321.wandb")), Skipped(False))
    return [{"_step": step, **row} for step, row in run.history]


def losses(db: Path, split: str = "test") -> list[tuple[int, float]]:
    sql = "select step, loss_nats from loss_point where split = ? order by step"
    return store.query(db, sql, [split]).rows()


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_a_runs_rows(ending: str, rows: list[dict[str, object]], tmp_path: Path) -> None:
    path, db = tmp_path / f"history.{ending}", tmp_path / "a.duckdb"
    numbers = pd.DataFrame(rows).map(float)
    if ending == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif ending == "csv":
        pd.DataFrame(rows).to_csv(path, index=False)
    else:
        numbers.to_parquet(path)
    result = run_cli("import", path, "--db", db, *SIZED)
    assert result.returncode == 0, result.stderr
    assert "format (guessed): wandb-history" in result.stderr
    # In pandas NaN is what was not logged: its CSV has an empty cell for both.
    found, expected = (
        [point for point in points if ending == "jsonl" or not math.isnan(point[1])]
        for points in (losses(db), EXPECTED)
    )
    assert repr(found) == repr(expected)
    assert losses(db, "batch")[0] == (0, 4.2)
    before = content(db)
    assert run_cli("import", path, "--db", db, *SIZED).returncode == 0
    assert content(db) == before


def test_the_step_can_be_chosen(rows: list[dict[str, object]], tmp_path: Path) -> None:
    path, db = tmp_path / "history.jsonl", tmp_path / "a.duckdb"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_cli("import", path, "--db", db, *SIZED, "--map", "step=_step").returncode == 0
    assert [step for step, _ in losses(db)] == [1, 3, 5, 7, 9, 10, 11, 12]
    assert_one_line(run_cli("import", path, "--db", db, *SIZED, "--map", "step=x"), 2, "has no column 'x'")


def test_a_chart(tmp_path: Path) -> None:
    path, db = tmp_path / "chart.csv", tmp_path / "a.duckdb"
    path.write_text(
        '"train/global_step","lora - 32 - eval/loss","lora - 32 - eval/loss__MIN","lora - 32 - eval/loss__MAX",'
        '"ia3 - eval/loss","ia3 - eval/loss__MIN","ia3 - eval/loss__MAX"\n'
        '"0","4.0","4.0","4.0","","",""\n"10","3.5","3.5","3.5","4.25","4.25","4.25"\n'
    )
    assert run_cli("import", path, "--db", db, "--set", "n_params=59000").returncode == 0
    sql = "select settings->>'$.name', step, loss_nats from loss_point join run using (run_id) order by all"
    assert store.query(db, sql).rows() == [("ia3", 10, 4.25), ("lora - 32", 0, 4.0), ("lora - 32", 10, 3.5)]


def test_damage(tmp_path: Path) -> None:
    path, db = tmp_path / "history.csv", tmp_path / "a.duckdb"
    path.write_text("_step,_runtime,eval/loss\n0,0.1,4\n1,0.2\n")
    assert_one_line(run_cli("import", path, "--db", db, *SIZED), 1, r"history\.csv: line 3: Expected 3 columns, got 2")
    path.write_text("_step,_runtime,eval/loss\n0,0.1,4\nx,0.2,3\n")
    assert_one_line(run_cli("import", path, "--db", db, *SIZED), 1, r"history\.csv: line 3: _step should be a number")
    assert not db.exists()
