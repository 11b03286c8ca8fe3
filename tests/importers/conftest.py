"""Sources that the real tools wrote (make_files.py), and what a database holds after an import."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from astraios.workflow import ImportRequest, import_results

FILES = Path(__file__).parent / "files"
TABLES = (
    "base_model", "tuning_method", "dataset", "run", "attempt", "task", "evaluation", "loss_point", "loss_summary",
    "score", "sample_score", "correlation",
)  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a file or folder of `files/`, gunzipped where its name without .gz is asked for."""

    def copy(name: str) -> Path:
        here, there = FILES / name, tmp_path / "source" / name
        there.parent.mkdir(parents=True, exist_ok=True)
        if here.is_dir():
            shutil.copytree(here, there, dirs_exist_ok=True)
        elif here.is_file():
            shutil.copy(here, there)
        else:
            there.write_bytes(gzip.decompress((FILES / f"{name}.gz").read_bytes()))
        return there

    return copy


def content(db: Path) -> dict[str, list[str]]:
    """All rows of a database as text, so that NaN equals NaN."""
    with store.reading(db) as connection:
        return {name: sorted(map(repr, connection.execute(f"from {name}").fetchall())) for name in TABLES}


def take(source: object, db: Path, **facts: str) -> dict[str, Any]:
    """What `astraios import SOURCE --set NAME=VALUE` does, in this process."""
    return import_results(db, str(source), ImportRequest(facts=[f"{name}={value}" for name, value in facts.items()]))
