"""The user's word goes before all else, and fractions are never mixed with per cent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from tests.importers.conftest import FILES, take

PROMISE = "an import says what the runs really had"


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "a.duckdb"


def rows(db: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(store.query(db, sql).rows())


@pytest.mark.promise(PROMISE)
def test_a_correction_wins_over_the_file_and_over_earlier_imports(db: Path, tmp_path: Path) -> None:
    """It stays when the file is imported again without it, by the same tool or another, and when scores arrive."""
    folder = tmp_path / "real"
    shutil.copytree(FILES / "real", folder)
    sql = "select seed, learning_rate, n_params from run where settings ->> 'name' like '%lora%'"
    lora = next((folder / "out" / "lora").glob("*/*/*"))
    take(lora, db)
    (before,) = rows(db, sql.partition(" where")[0])
    take(lora, db, seed="77", n_params="5M")
    corrected = (77, before[1], 5_000_000)
    assert rows(db, sql.partition(" where")[0]) == [corrected]
    take(lora, db)
    assert rows(db, sql.partition(" where")[0]) == [corrected]
    take(folder / "wandb", db, learning_rate="0.5")
    assert (77, 0.5, 5_000_000) in rows(db, sql.partition(" where")[0]), "another tool's import, with a correction"
    told = json.loads(rows(db, "select settings -> 'facts_from' from run where seed = 77")[0][0])
    assert [told[name] for name in ("seed", "learning_rate", "n_params")] == ["the user"] * 3


@pytest.mark.promise(PROMISE)
@pytest.mark.parametrize(
    ("metric", "values", "stored"),
    [
        ("acc", (25.0, 43.5), [0.25, 0.435]),
        ("acc_norm,none", (25.0, 100.0), [0.25, 1.0]),
        ("acc", (0.25, 0.435), [0.25, 0.435]),
        ("acc", (0.25, 43.5), []),
        ("score", (0.25, 43.5), []),
        ("perplexity", (0.9, 43.5), [0.9, 43.5]),
        ("reward", (0.25, 3.5), [0.25, 3.5]),
        ("bleu", (12.5, 43.5), [12.5, 43.5]),
        ("pass@1", (12.2, 0.0), [0.0, 0.122]),
    ],
)
def test_per_cent_and_fractions(
    metric: str, values: tuple[float, ...], stored: list[float], db: Path, tmp_path: Path
) -> None:
    path = tmp_path / "scores.csv"
    lines = [f"r{place},{10**6 * (place + 1)},arc,{metric!r},{value},1.0" for place, value in enumerate(values)]
    path.write_text("run,n_params,task,metric,value,stderr\n" + "\n".join(lines).replace("'", '"') + "\n")
    told = take(path, db)
    assert [row[0] for row in rows(db, "select value from score order by value")] == pytest.approx(stored)
    if stored and stored != sorted(values):
        assert any("per cent (up to" in why for why in told["skipped"].values())
        assert rows(db, "select distinct stderr from score") == [(0.01,)]
    if not stored:
        assert any("fractions (0.25) and per cent (43.5) under one name" in why for why in told["skipped"].values())
