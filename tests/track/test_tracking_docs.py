"""docs/tracking.md: the worked example makes a projection, and what it shows of other trackers runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from astraios import store
from tests.conftest import REPOSITORY, run_cli

PAGE = REPOSITORY / "docs" / "tracking.md"


def projected(printed: str) -> dict[str, float]:
    """Projected loss by tuning method."""
    return {
        fit["group"]: row["mean"]
        for fit in json.loads(printed)["fits"]
        for row in fit["projections"]
        if (row["role"], row["quantity"]) == ("target", "loss")
    }


@pytest.mark.promise("From a plain Trainer script to a projection by one line")
@pytest.mark.parametrize("steps", [8, pytest.param(200, marks=pytest.mark.slow)])
def test_the_worked_example_ends_in_a_projection(tmp_path: Path, steps: int) -> None:
    pytest.importorskip("transformers")
    pytest.importorskip("peft")
    assert "callbacks=[AstraiosCallback(" in PAGE.read_text()
    script = REPOSITORY / "docs" / "tracking_example.py"
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "runs"), str(steps)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-2000:]
    db = tmp_path / "a.duckdb"
    assert run_cli("ingest", "--out", tmp_path / "runs", "--db", db).returncode == 0
    grid = store.query(db, "select n_params, method_id, steps from run order by all").rows()
    sizes = sorted({n for n, _, _ in grid})
    assert grid == [(n, method, steps) for n in sizes for method in ("fft", "lora")]
    assert len(sizes) == 3
    fitted = run_cli("fit-scaling", "--db", db, "--target", "1M", "--json")
    assert fitted.returncode == 0, fitted.stderr
    found = projected(fitted.stdout)
    assert set(found) == {"fft", "lora"}
    if steps == 200:
        assert all(0.5 < loss < 3.2 for loss in found.values())


def test_what_is_shown_of_other_trackers_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASTRAIOS_RUNS", str(tmp_path))
    blocks = re.findall(r"```diff\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        lines = [line[1:] for line in block.splitlines() if not line.startswith("-")]
        assert len(lines) <= 5
        exec("\n".join(lines), {"config": {"lr": 1e-4}, "loss": 2.5, "step": 10})
    db = tmp_path / "a.duckdb"
    assert store.ingest(db, tmp_path).n_new == 3
    sql = "select distinct learning_rate, settings->>'$.name' as name from run"
    assert store.query(db, sql).rows() == [(1e-4, "n")]
