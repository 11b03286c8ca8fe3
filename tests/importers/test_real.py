"""What the real tools wrote of real runs is what the runs had: a recorded part always, all of it in `make verify`.

The long test installs the tools into an environment of its own and lets them train (make_real.py); `files/real` is
a part of that, recorded once: one run of each method, with the Trainer, W&B, MLflow, TensorBoard and Trackio at once.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from astraios import store
from tests.conftest import REPOSITORY, run_cli
from tests.importers.conftest import FILES

TOOLS = ("wandb", "mlflow-skinny", "sqlalchemy", "alembic", "tensorboard", "trackio")
SOURCES = {
    "trainer": ("out",), "wandb": ("wandb",), "mlflow": ("mlflow.db",), "trackio": ("trackio",),
    "tensorboard": ("out", "--format", "tensorboard"),
}  # fmt: skip
OURS = {"prefix_tuning": "prefixtuning"}
COLUMNS = ("method_id", "seed", "learning_rate", "n_params", "n_trainable", "n_tokens", "test", "batch")
SQL = """
select r.method_id, r.seed, r.learning_rate, r.n_params, r.n_trainable, r.n_tokens,
    (select last_loss from loss_summary where run_id = r.run_id and split = 'test') as test,
    (select last_loss from loss_summary where run_id = r.run_id and split = 'batch') as batch
from run r
"""


def imported(db: Path, folder: Path, tool: str) -> None:
    name, *options = SOURCES[tool]
    result = run_cli("import", folder / name, "--db", db, *options)
    assert result.returncode == 0, result.stderr


def assert_true(db: Path, truth: list[dict[str, Any]]) -> None:
    """Each run that was trained is there once, with what it had."""
    found = sorted(store.query(db, SQL).rows(), key=repr)
    expected = sorted(
        (
            tuple({**one, "method_id": OURS.get(one["method"], one["method"])}[name] for name in COLUMNS)
            for one in truth
        ),
        key=repr,
    )
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one[:6] == other[:6]
        assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(one[6:], other[6:], strict=True)), (one, other)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A copy of the recorded files, the database of MLflow unpacked."""
    folder = tmp_path / "real"
    shutil.copytree(FILES / "real", folder)
    (folder / "mlflow.db").write_bytes(gzip.decompress((FILES / "real" / "mlflow.db.gz").read_bytes()))
    return folder


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize("tool", list(SOURCES))
def test_what_each_tool_recorded(tool: str, recorded: Path, tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    imported(db, recorded, tool)
    assert_true(db, json.loads((recorded / "truth.json").read_text()))


@pytest.mark.promise("one run is one run, whoever logged it")
def test_five_loggers_of_the_same_runs(recorded: Path, tmp_path: Path) -> None:
    db, truth = tmp_path / "a.duckdb", json.loads((recorded / "truth.json").read_text())
    for tool in [*SOURCES, *reversed(SOURCES)]:
        imported(db, recorded, tool)
        assert_true(db, truth)


@pytest.mark.slow
@pytest.mark.promise("one run is one run, whoever logged it")
def test_sixteen_runs_by_the_tools_of_today(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    home = tmp_path / "tools"
    venv.create(home, with_pip=True)
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    next(home.glob("lib/python*/site-packages")).joinpath("shared.pth").write_text(f"{site}\n")
    constraints = REPOSITORY / "constraints.txt"
    install = [home / "bin" / "pip", "install", "--quiet", "--constraint", constraints, *TOOLS]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("the tools can't be installed here: no package index")
    maker = Path(__file__).with_name("make_real.py")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    subprocess.run([home / "bin" / "python", maker, tmp_path / "made", "trainer"], check=True, env=environment)
    truth = json.loads((tmp_path / "made" / "trainer.json").read_text())
    for tool in SOURCES:
        imported(tmp_path / f"{tool}.duckdb", tmp_path / "made" / "trainer", tool)
        assert_true(tmp_path / f"{tool}.duckdb", truth)
        imported(tmp_path / "all.duckdb", tmp_path / "made" / "trainer", tool)
        assert_true(tmp_path / "all.duckdb", truth)
