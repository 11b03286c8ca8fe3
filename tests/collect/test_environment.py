"""What is recorded of the machine and the code."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from astraios.collect.cell.environment import current
from astraios.runs.environment import code_revision

pytest.importorskip("torch")


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_of_a_checkout_is_known_and_that_files_were_changed(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        options = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-C", str(tmp_path)]
        return subprocess.run(["git", *options, *words], capture_output=True, text=True, check=True).stdout.strip()

    assert code_revision(tmp_path) is None, "no checkout"
    code_revision.cache_clear()
    (tmp_path / "astraios").mkdir()
    (tmp_path / "astraios" / "a.py").write_text("1")
    git("init", "-q")
    assert code_revision(tmp_path) is None, "no commit yet"
    code_revision.cache_clear()
    git("add", ".")
    git("commit", "-qm", "x")
    head = f"g{git('rev-parse', '--short=12', 'HEAD')}"
    (tmp_path / "notes.txt").write_text("not part of the code")
    assert code_revision(tmp_path) == head
    code_revision.cache_clear()
    (tmp_path / "astraios" / "a.py").write_text("2")
    assert code_revision(tmp_path) == f"{head}.changed"


def test_the_environment_names_the_code_and_no_place() -> None:
    found = current("cpu")
    packages = dict(found.packages)  # type: ignore[arg-type]
    revision = code_revision()
    assert packages["astraios"].partition("+")[2] == (revision or "")
    assert set(packages) >= {"astraios", "torch", "transformers", "peft"}
    assert str(Path.home()) not in repr(found)
    assert found.environment_id == current("cpu").environment_id
