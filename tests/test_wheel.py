"""What is installed: the wheel in an empty environment, with nothing of the repository and without torch."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytestmark = pytest.mark.slow
LARGEST_MB = 1000
"""Of a first install, in megabytes (10^6 bytes); README.md says what weighs."""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel and the source distribution, in one folder."""
    pytest.importorskip("hatchling")
    from hatchling.builders.sdist import SdistBuilder
    from hatchling.builders.wheel import WheelBuilder

    folder = tmp_path_factory.mktemp("dist")
    for builder in (WheelBuilder, SdistBuilder):
        list(builder(str(REPOSITORY)).build(directory=str(folder), versions=["standard"]))
    return folder


@pytest.fixture(scope="module")
def environment(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel and what it needs."""
    folder = tmp_path_factory.mktemp("empty") / "environment"
    venv.create(folder, with_pip=True)
    [wheel] = built.glob("*.whl")
    done = subprocess.run(
        [folder / "bin/python", "-m", "pip", "install", "-q", "--constraint", REPOSITORY / "constraints.txt", wheel],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1][:200]}")
    return folder


def run(environment: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "ASTRAIOS_DB")}
    return subprocess.run(
        [str(environment / "bin/astraios"), *words], cwd=folder, env=kept, capture_output=True, text=True, check=False
    )


@pytest.mark.promise("installed from a wheel it goes from nothing to a page")
def test_the_wheel_alone_draws_a_page(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "demo", "--quick")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "report.html").stat().st_size > 100_000
    without = run(environment, tmp_path, "demo")
    assert (without.returncode, without.stderr.count("\n")) == (1, 1)
    assert "pip install 'astraios[train]'" in without.stderr


def test_a_first_install_is_not_heavy(environment: Path) -> None:
    [packages] = (environment / "lib").glob("python*/site-packages")
    files = [path for path in packages.rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) / 1e6 < LARGEST_MB
    assert not (packages / "torch").exists()


def test_both_distributions_are_what_an_index_takes(built: Path) -> None:
    pytest.importorskip("twine")
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *map(str, built.iterdir())],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2
