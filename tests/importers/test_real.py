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
from astraios.workflow import FitRequest, ImportRequest, fit_scaling, import_results
from tests.conftest import REPOSITORY, run_cli
from tests.importers.conftest import FILES, take
from tests.importers.test_samples import assert_by_hand, assert_tasks_by_hand

TOOLS = ("wandb", "mlflow-skinny", "sqlalchemy", "alembic", "tensorboard", "trackio", "lightning", "trl", "lm-eval")
SOURCES = {
    "trainer": ("out",), "wandb": ("",), "mlflow": ("mlflow.db",), "trackio": ("trackio",),
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


LOGGED = {
    "wandb": ("",), "mlflow": ("kept/mlflow.db",), "mlflow_files": ("mlruns",), "tensorboard": ("",),
    "lightning": ("csv", "board", "wandb"),
}  # fmt: skip
"""Sources of the parts of make_real_loggers.py; of Lightning each logger has the same run."""


def assert_logged(folder: Path, part: str, tmp_path: Path, sources: tuple[str, ...]) -> None:
    """The test losses of each run that was logged by hand are those that count in the end, and nothing else."""
    truth = json.loads((folder.parent / f"{part}.json").read_text())
    together = tmp_path / "together.duckdb"
    for place, source in enumerate(sources):
        for db in (tmp_path / f"{place}.duckdb", together):
            take(folder / source, db, n_params="1M")
            sql = (
                "select settings ->> 'name' as name, step, loss_nats from run join loss_point using (run_id) "
                "where split = 'test' order by all"
            )
            found: dict[str, list[tuple[int, float]]] = {}
            for name, step, loss in store.query(db, sql).rows():
                found.setdefault(name, []).append((step, loss))
            assert len(found) == len(truth)
            for run in truth:
                losses = found.get(run["name"]) or next(iter(found.values()))
                # A process that was killed has not written all that it logged.
                told = run["test"][: len(losses)] if run["name"] == "crashed" else run["test"]
                assert losses == [(step, pytest.approx(loss, rel=1e-6)) for step, loss in told], run["name"]


@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize("part", ["wandb", "tensorboard", "lightning"])
def test_restarts_rewinds_and_crashes(part: str, tmp_path: Path) -> None:
    assert_logged(FILES / "loggers" / part, part, tmp_path, LOGGED[part])


@pytest.mark.promise("an import says what the runs really had")
def test_what_is_not_whole_is_said(tmp_path: Path) -> None:
    told = take(FILES / "loggers" / "wandb", tmp_path / "a.duckdb", n_params="1M")
    assert "what stands before it is taken" in told["skipped"]["run-crashed.wandb"]
    assert "of the abandoned branch" in told["skipped"]["restarted, before a restart"]
    assert any(note.startswith("not finished: crashed (killed or running)") for note in told["notes"])


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the real tools, beside what is installed here."""
    pytest.importorskip("torch")
    home = tmp_path_factory.mktemp("tools")
    venv.create(home, with_pip=True)
    shared = "".join(f"{path}\n" for path in sys.path if path.endswith("site-packages"))
    next(home.glob("lib/python*/site-packages")).joinpath("shared.pth").write_text(shared)
    constraints = REPOSITORY / "constraints.txt"
    install = [home / "bin" / "pip", "install", "--quiet", "--constraint", constraints, *TOOLS]
    if subprocess.run(install, capture_output=True).returncode:
        pytest.skip("the tools can't be installed here: no package index")
    return home / "bin" / "python"


def made(tools: Path, folder: Path, part: str) -> Path:
    """What a part of make_real.py writes."""
    maker = Path(__file__).with_name("make_real.py")
    subprocess.run([tools, maker, folder, part], check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    return folder / part


@pytest.mark.slow
@pytest.mark.promise("an import says what the runs really had")
@pytest.mark.parametrize("part", list(LOGGED))
def test_restarts_rewinds_and_crashes_today(part: str, tools: Path, tmp_path: Path) -> None:
    folder = made(tools, tmp_path / "made", part)
    sources = (*LOGGED[part], "mlflow.db") if part == "lightning" else LOGGED[part]
    assert_logged(folder, part, tmp_path, sources)


@pytest.mark.slow
@pytest.mark.promise("an import says what the runs really had")
def test_samples_of_lm_eval_today(tools: Path, tmp_path: Path) -> None:
    """Each item's likelihoods; chance, task loss, probability of the right answer and what was written of each task."""
    folder, db = made(tools, tmp_path / "made", "samples"), tmp_path / "a.duckdb"
    truth = json.loads((tmp_path / "made" / "samples.json").read_text())
    assert_by_hand(folder / "results", truth, db)
    assert_tasks_by_hand(truth, db)
    assert [row["exact_match"] for row in truth if "exact_match" in row] == [1, 0, 0, 0, 0]


@pytest.mark.slow
@pytest.mark.promise("one run is one run, whoever logged it")
def test_sixteen_runs_by_the_tools_of_today(tools: Path, tmp_path: Path) -> None:
    folder = made(tools, tmp_path / "made", "trainer")
    truth = json.loads((tmp_path / "made" / "trainer.json").read_text())
    for tool in SOURCES:
        imported(tmp_path / f"{tool}.duckdb", folder, tool)
        assert_true(tmp_path / f"{tool}.duckdb", truth)
        imported(tmp_path / "all.duckdb", folder, tool)
        assert_true(tmp_path / "all.duckdb", truth)


def assert_trl(folder: Path, truth: list[dict[str, Any]], tmp_path: Path) -> None:
    """Runs of TRL are what they were, from their folders, from Trackio and from TensorBoard, and are the same runs."""
    together = tmp_path / "together.duckdb"
    for place, (source, form) in enumerate((("out", None), ("trackio", None), ("out", "tensorboard"), ("out", None))):
        for db in (tmp_path / f"{place}.duckdb", together):
            import_results(db, str(folder / source), ImportRequest(form))
            assert_true(db, truth)
    told = take(folder / "preferences", together, n_params="40K")
    assert "no loss of tokens" in told["skipped"]["metric eval_loss"]
    assert store.query(together, "select count(*) from run anti join loss_summary using (run_id)").item() == 1


@pytest.mark.promise("one run is one run, whoever logged it")
def test_a_resumed_run_of_trl_and_preferences(tmp_path: Path) -> None:
    folder = tmp_path / "trl"
    shutil.copytree(FILES / "trl", folder)
    for packed in folder.rglob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    assert_trl(folder, json.loads((folder / "truth.json").read_text()), tmp_path)


@pytest.mark.slow
@pytest.mark.promise("one run is one run, whoever logged it")
def test_trl_today(tools: Path, tmp_path: Path) -> None:
    folder = made(tools, tmp_path / "made", "trl")
    assert_trl(folder, json.loads((tmp_path / "made" / "trl.json").read_text()), tmp_path)


@pytest.mark.slow
@pytest.mark.promise("one run is one run, whoever logged it")
def test_results_of_lm_eval_meet_the_runs_they_are_of_today(tools: Path, tmp_path: Path) -> None:
    """Two imports with no further word, and scores are predicted from losses."""
    folder, db = made(tools, tmp_path / "made", "evaluated"), tmp_path / "a.duckdb"
    for source in ("out", "results"):
        take(folder / source, db)
    sql = (
        "select method_id, n_params, loss_nats, value from loss_to_score "
        "where split = 'test' and metric = 'acc' order by all"
    )
    truth = json.loads((tmp_path / "made" / "evaluated.json").read_text())
    expected = sorted((one["method"], one["n_params"], one["test"], one["acc"]) for one in truth)
    assert store.query(db, sql).rows() == [
        (method, n_params, pytest.approx(test), pytest.approx(acc)) for method, n_params, test, acc in expected
    ]
    found = fit_scaling(db, FitRequest())
    assert not any(warning["code"] == "scores_apart" for warning in found["warnings"])
    projected = [row for fit in found["fits"] for row in fit["projections"]]
    assert {row["task_id"] for row in projected if row["quantity"] == "score"} == {"tiny_places"}
