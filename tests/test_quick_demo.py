"""The quick demonstration: from an empty folder to a page, without torch."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, assert_one_line, run_cli

WITHOUT_TORCH = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "peft"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["astraios", "demo", "--quick"]
from astraios.cli import main
main()
"""


def test_from_nothing_to_a_page(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], cwd=tmp_path, env={"PYTHONPATH": str(REPOSITORY), "PATH": ""},
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Projected scores" in done.stdout
    assert len(done.stdout.splitlines()) < 50, "a first page, not every task of every method"
    assert "each task by itself: astraios fit-scaling --db published.duckdb" in done.stderr
    assert "next: open report.html; astraios studies --db published.duckdb" in done.stderr
    page = (tmp_path / "report.html").read_text()
    assert "StarCoderBase" in page
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".lock") == [
        "published.duckdb", "report.html"
    ]  # fmt: skip


def test_the_demo_that_trains_asks_for_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert_one_line(run_cli("demo"), 1, r"pip install 'astraios\[train\]'")
    assert not list(tmp_path.iterdir())
