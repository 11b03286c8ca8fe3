"""A database with a bit of everything, made once for the tests of the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from astraios import store, workflow
from tests.store.made import make_ladder


@pytest.fixture(scope="session")
def ladder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of a made-up ladder with fits of them, the paper's numbers, a tag and an excluded run; not to be changed."""
    folder = tmp_path_factory.mktemp("ladder")
    make_ladder(folder / "runs")
    db = folder / "a.duckdb"
    store.ingest(db, folder / "runs")
    workflow.fit_scaling(db, workflow.FitRequest(targets=("256M",)))
    workflow.import_results(db, "paper", workflow.ImportRequest())
    workflow.curate(db, ["lora-0-0"], "tag", tag="baseline")
    workflow.curate(db, ["ia3-0-1"], "exclude", reason="made to be excluded", author="test")
    return db
