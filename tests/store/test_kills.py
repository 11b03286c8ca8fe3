"""Many writers, an ingester and a reader, killed with SIGKILL at random: nothing lost, nothing twice, nothing half."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from astraios import store
from astraios.runs.directory import read_manifest
from tests.conftest import REPOSITORY
from tests.store.chaos import N_POINTS, N_WRITERS


@pytest.mark.promise("killed writers lose nothing")
@pytest.mark.parametrize("kills", [5, pytest.param(120, marks=pytest.mark.slow)])
def test_killed_at_random_nothing_is_lost(kills: int, tmp_path: Path) -> None:
    folder, db = tmp_path / "chaos", tmp_path / "a.duckdb"
    result = subprocess.run(
        [sys.executable, "-m", "tests.store.chaos", str(folder), str(db), str(kills), "1", "0.15"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    seen = json.loads(result.stdout)
    assert not seen["failures"], seen["failures"]
    assert sum(seen["killed"].values()) == kills
    assert seen["readings"] > 0
    assert seen["killed"].get("ingester", 0) > 0
    # Directories that are still unfinished belong to writers that were stopped; all others count.
    finished = {p.name for p in (folder / "runs").iterdir() if read_manifest(p) is not None}
    assert len(finished) >= max(seen["acknowledged"], N_WRITERS)
    report = store.ingest(db, folder / "runs")
    assert not report.skipped
    counts = store.query(
        db,
        "select run_id, count(*) as n, count(distinct step) as steps, "
        "bool_and(loss_nats = 4.0 - 0.1 * step) as as_written from loss_point group by run_id",
    )
    assert set(counts["run_id"]) == finished
    assert (counts["n"] == N_POINTS).all()
    assert (counts["steps"] == N_POINTS).all()
    assert store.failed_checks(db) == {}
    assert store.check_directories(db, folder / "runs") == {}
    anew = tmp_path / "anew.duckdb"
    assert store.rebuild(anew, folder / "runs").n_runs == len(finished)
    assert store.differences(db, anew) == {}
    assert sorted(p.name for p in tmp_path.glob("a.duckdb*")) == ["a.duckdb", "a.duckdb.lock"], "nothing is left behind"
