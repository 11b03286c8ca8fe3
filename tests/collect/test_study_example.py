"""The worked example of docs/studies.md: planned, run, killed, run to its end."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from tests.conftest import REPOSITORY, run_process


def example() -> str:
    """The sweep as the page prints it."""
    found = re.search(r"```toml\n(.*?)```", (REPOSITORY / "docs" / "studies.md").read_text(), re.DOTALL)
    assert found
    return found[1]


def plan(folder: Path) -> list[dict[str, Any]]:
    result = run_process("collect", "rank_study.toml", "--dry-run", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    return list(json.loads(result.stdout))


def test_the_example_is_planned_as_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "rank_study.toml").write_text(example())
    rows = plan(tmp_path)
    axes = {(r["model_id"], r["settings"]["rank"], r["steps"], r["learning_rate"]) for r in rows}
    assert len(rows) == len(axes) == 3 * 2 * 2 * 2
    said = run_process("collect", "rank_study.toml", "--dry-run", cwd=tmp_path).stderr
    assert "24 cells: 0 done, 0 started, 24 new" in said
    assert "24 cells: 0 done, 0 started, 24 new" in (REPOSITORY / "docs" / "studies.md").read_text()


@pytest.mark.slow
@pytest.mark.promise("a sweep that was killed goes on where it was")
def test_the_example_is_killed_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "rank_study.toml").write_text(example())
    command = [sys.executable, "-m", "astraios.cli", "collect", "rank_study.toml"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until = time.monotonic() + 900
        while len(list(tmp_path.glob("runs/*/manifest.json"))) < 3 and time.monotonic() < until:
            assert process.poll() is None
            time.sleep(0.2)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/manifest.json")}
    states = Counter(row["state"] for row in plan(tmp_path))
    assert states["done"] == len(before) >= 3
    assert states["new"] > 0
    result = run_process("collect", "rank_study.toml", cwd=tmp_path)
    assert f"24 cells: {24 - len(before)} run now, {len(before)} done before, 0 failed" in result.stderr, result.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before, "what was done is left alone"
    assert Counter(row["state"] for row in plan(tmp_path)) == {"done": 24}
    losses = store.query(
        tmp_path / "astraios.duckdb",
        "select n_params, settings->>'$.settings.rank' as rank, steps, learning_rate, loss_nats from final_loss "
        "join run using (run_id, n_params, steps, learning_rate) where split = 'test'",
    )
    assert len(losses) == 24
    assert losses["loss_nats"].is_finite().all()
    assert sorted(losses["rank"].unique()) == ["2", "8"]
    fitted = run_process("fit-scaling", "--target", "428k", cwd=tmp_path)
    assert fitted.returncode == 0, fitted.stderr
    projected = store.query(
        tmp_path / "astraios.duckdb",
        "select method_id, count(*) as n from projection where role = 'target' and quantity = 'loss' group by 1",
    )
    assert dict(projected.rows()) == {"lora rank=2": 1, "lora rank=8": 1}, "one series a rank, the rates within it"
