"""DuckLake on a real Postgres: the same schema and answers, four ingesting writers at once, killed at random.

The lake's extensions exist for one release of DuckDB alone, so these tests run another interpreter: `make lake` makes
it, $ASTRAIOS_LAKE_PYTHON names one that is there. Postgres comes from the system (Debian: apt-get install postgresql).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.store.chaos import N_POINTS, N_WRITERS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> str:
    """An interpreter with the extra `ducklake`."""
    found = os.environ.get("ASTRAIOS_LAKE_PYTHON") or str(REPOSITORY / ".venv-lake" / "bin" / "python")
    probe = "import duckdb, duckdb_extension_ducklake, duckdb_extension_postgres_scanner, psycopg, polars, pyarrow"
    try:
        subprocess.run([found, "-c", probe], capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no interpreter with the extra ducklake: make lake, or set ASTRAIOS_LAKE_PYTHON")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Postgres of our own that listens on a socket in a folder, and is gone afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = str(programs[-1]) if programs else shutil.which("initdb")
    if initdb is None:
        pytest.skip("no Postgres: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("pg")
    user = []
    if os.geteuid() == 0:
        # Postgres does not run as root; its folder must be reachable for its own user.
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        folder = Path(
            subprocess.run([*user, "mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip()
        )
    control, data = str(Path(initdb).parent / "pg_ctl"), str(folder / "data")
    subprocess.run([*user, initdb, "-D", data, "-A", "trust", "-U", "postgres"], capture_output=True, check=True)
    options = f"-k {folder} -c listen_addresses=''"
    log = str(folder / "log")
    subprocess.run(
        [*user, control, "-D", data, "-o", options, "-l", log, "-w", "start"], capture_output=True, check=True
    )
    yield folder
    subprocess.run([*user, control, "-D", data, "-m", "immediate", "-w", "stop"], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def lake(server: Path, python: str, tmp_path: Path) -> str:
    """The name of a new lake."""
    name = tmp_path.name.replace("-", "_").lower()
    script = f"import psycopg; c = psycopg.connect('dbname=postgres user=postgres host={server}', autocommit=True); "
    script += f"c.execute('create database \"{name}\"')"
    subprocess.run([python, "-c", script], check=True)
    return f"ducklake:postgres:dbname={name} user=postgres host={server} data_path={tmp_path / 'data'}"


def run(python: str, *arguments: str) -> dict[str, Any]:
    result = subprocess.run(
        [python, "-m", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_lake_answers_as_a_file_does(lake: str, python: str, tmp_path: Path) -> None:
    seen = run(python, "tests.store.lake_check", "same", str(tmp_path), lake)
    assert seen["ingested"] == [3, 0, 3]
    assert seen["differences"] == {}
    assert seen["checks"] == {}
    assert seen["directories"] == {}
    assert all(seen["views"].values()), seen["views"]
    assert seen["macro"] == 0.1
    assert len(seen["refused"]) == 6
    assert seen["counted"] == ["run0", "run2"]
    assert (tmp_path / "export" / "loss_point.parquet").exists()


@pytest.mark.promise("killed writers lose nothing")
def test_four_ingesting_writers_killed_at_random(lake: str, python: str, tmp_path: Path) -> None:
    kills = 100
    folder = tmp_path / "chaos"
    seen = run(python, "tests.store.chaos", str(folder), lake, str(kills), "4", "1.5")
    assert not seen["failures"], seen["failures"]
    assert sum(seen["killed"].values()) == kills
    assert seen["killed"]["ingester"] > 0
    assert seen["readings"] > 0
    left = run(python, "tests.store.lake_check", "kills", str(folder), lake)
    assert left["finished"] >= max(seen["acknowledged"], N_WRITERS)
    assert left["all_there"]
    assert (left["points"], left["steps"]) == ([N_POINTS], [N_POINTS])
    assert (left["checks"], left["directories"], left["differences"]) == ({}, {}, {})
