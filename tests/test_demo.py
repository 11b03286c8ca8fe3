"""The README's first command, in a fresh clone: minutes long, so `make verify` runs it and `make test` does not."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, float]]:
    """A clone in which `make demo` has run with an empty cache, and the seconds that it took."""
    folder = tmp_path_factory.mktemp("clone") / "astraios"
    subprocess.run(["git", "clone", "-q", str(REPOSITORY), str(folder)], check=True)
    start = time.monotonic()
    subprocess.run(["make", "demo"], cwd=folder, env=environment(folder), check=True)
    return folder, time.monotonic() - start


def environment(folder: Path) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("ASTRAIOS_DB", "PYTHONPATH", "VIRTUAL_ENV")}
    return {**kept, "ASTRAIOS_CACHE": str(folder.parent / "cache")}


def astraios(folder: Path, *arguments: str) -> str:
    command = [str(folder / ".venv/bin/astraios"), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment(folder), check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.promise("the demo takes minutes, its repetition seconds")
def test_demo_takes_minutes_and_its_repetition_less_than_one(clone: tuple[Path, float]) -> None:
    folder, seconds = clone
    assert seconds < 15 * 60
    start = time.monotonic()
    subprocess.run(["make", "demo"], cwd=folder, env=environment(folder), check=True)
    assert time.monotonic() - start < 60
    assert (folder / "report.html").stat().st_size > 100_000


@pytest.mark.promise("the demo's numbers make sense")
def test_losses_fall_with_size(clone: tuple[Path, float]) -> None:
    query = "select method_id, n_params, loss_nats from final_loss where split = 'test'"
    rows = json.loads(astraios(clone[0], "sql", query, "--format", "json"))
    curves: dict[str, dict[int, float]] = {}
    for row in rows:
        curves.setdefault(row["method_id"], {})[row["n_params"]] = row["loss_nats"]
    assert len(curves) >= 7
    assert all(len(curve) >= 4 for curve in curves.values())
    falling = [
        all(a > b for a, b in itertools.pairwise(v))
        for v in ([curve[n] for n in sorted(curve)] for curve in curves.values())
    ]
    assert sum(falling) >= 6


@pytest.mark.promise("the hidden size is predicted")
def test_the_largest_size_is_predicted(clone: tuple[Path, float]) -> None:
    printed = [astraios(clone[0], "fit-scaling", "--json") for _ in range(2)]
    assert printed[0] == printed[1], "the same numbers"
    backtests: dict[str, dict[str, Any]] = {
        fit["group"]: p
        for fit in json.loads(printed[0])["fits"]
        for p in fit["projections"]
        if p["role"] == "backtest" and p["quantity"] == "loss"
    }
    assert len(backtests) >= 7
    for p in backtests.values():
        assert p["low"] < p["mean"] < p["high"]
        assert p["relative_error"] == pytest.approx(abs(p["mean"] / p["observed"] - 1))
    mean = sum(p["relative_error"] for p in backtests.values()) / len(backtests)
    carried = sum(p["carry_forward_error"] for p in backtests.values()) / len(backtests)
    assert mean <= 0.01
    assert mean < carried


@pytest.mark.promise("the demo's numbers make sense")
def test_tasks_rise_above_chance(clone: tuple[Path, float]) -> None:
    query = "select task_id, n_params, avg(value) as v from final_score where metric = 'accuracy' group by all"
    rows = json.loads(astraios(clone[0], "sql", query, "--format", "json"))
    sizes = sorted({row["n_params"] for row in rows})
    rising = 0
    for task in {row["task_id"] for row in rows}:
        values = {row["n_params"]: row["v"] for row in rows if row["task_id"] == task}
        rising += values[sizes[-1]] > values[sizes[0]]
    assert rising >= 2


def test_the_first_sweep_of_ones_own_trains(clone: tuple[Path, float]) -> None:
    """What `astraios init-sweep` writes, trained as it stands: README.md's fourth recipe."""
    astraios(clone[0], "init-sweep", "mine.toml")
    done = json.loads(astraios(clone[0], "collect", "mine.toml", "--out", "mine", "--db", "mine.duckdb", "--json"))
    assert (done["n_cells"], done["n_failed"], done["not_scored"]) == (15, 0, {})
