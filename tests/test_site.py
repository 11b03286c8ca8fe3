"""The documentation site: it builds without a warning, has every page, and its search finds a warning's code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

pytest.importorskip("zensical")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(REPOSITORY / "mkdocs.yml", folder)
    shutil.copytree(REPOSITORY / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--config-file", "mkdocs.yml"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No issues found" in done.stdout + done.stderr
    return folder / "site"


def test_every_page_is_there(site: Path) -> None:
    named = re.findall(r": (\S+\.md)$", (REPOSITORY / "mkdocs.yml").read_text(), re.MULTILINE)
    docs = REPOSITORY / "docs"
    assert sorted(named) == sorted(str(path.relative_to(docs)) for path in docs.rglob("*.md")), "mkdocs.yml names all"
    for name in named:
        page = site / name.replace("README.md", "index.html").replace(".md", ".html")
        assert "<article" in page.read_text(), page


def test_search_finds_what_a_warning_is_called(site: Path) -> None:
    [index] = site.rglob("search.json")
    found = [item["location"] for item in json.loads(index.read_text())["items"] if "undertuned" in item["text"]]
    assert any(place.startswith("fitting.html") for place in found), found
