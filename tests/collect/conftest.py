"""A sweep of two cells, collected once for all that compare with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import run_cli, sweep_toml


@pytest.fixture(scope="session")
def pair(small_models: list[str], pairs_file: Path) -> str:
    """A sweep of two cells."""
    return sweep_toml(small_models[:1], pairs_file)


@pytest.fixture(scope="session")
def collected(pair: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run directories of that sweep, collected here in one process a cell."""
    folder = tmp_path_factory.mktemp("together")
    (folder / "s.toml").write_text(pair)
    result = run_cli("collect", folder / "s.toml", "--db", folder / "t.duckdb", "--out", folder / "runs")
    assert result.returncode == 0, result.stderr
    return folder / "runs"
