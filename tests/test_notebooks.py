"""The notebooks run from their first cell to their last, and what they hold is what comes out."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, docs_script

nbformat = pytest.importorskip("nbformat")
for package in ("nbclient", "ipykernel"):
    pytest.importorskip(package)
NOTEBOOKS = sorted((REPOSITORY / "docs" / "notebooks").glob("*.ipynb"))
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
CLOSE = 0.02
"""Numbers of another machine or version may differ by so much: resampling, and the last digits of an optimum."""


def shown(cell: Any) -> tuple[str, list[float], list[str]]:
    """What a cell put out: its words, its numbers, and in which forms besides text."""
    outputs = cell.get("outputs", [])
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    text = "".join(texts)
    forms = sorted(form for output in outputs for form in output.get("data", {}))
    words = re.sub(r"[\s─═┬┴╪┼]+", " ", NUMBER.sub("#", text))  # tables are as wide as their numbers
    return words, [float(number.replace(",", "")) for number in NUMBER.findall(text)], forms


@pytest.mark.promise("every documented query and example runs")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_a_notebook_holds_what_comes_out(path: Path) -> None:
    kept, new = nbformat.read(path, as_version=4), docs_script("run_notebooks").run(path)
    assert not list(path.parent.glob("*.duckdb")), "it runs in a copy of its folder"
    for before, now in zip(kept.cells, new.cells, strict=True):
        (words, numbers, forms), (now_words, now_numbers, now_forms) = shown(before), shown(now)
        assert (words, forms) == (now_words, now_forms), "run docs/run_notebooks.py"
        for one, other in zip(numbers, now_numbers, strict=True):
            assert math.isclose(one, other, rel_tol=CLOSE, abs_tol=0.01), (before.source, one, other)


def test_there_are_three_without_traces_of_a_machine() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        notebook = nbformat.read(path, as_version=4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code"), "kept as they ran"
        assert not re.search(rf"/home/|/root|/tmp/|/Users/|{re.escape(str(REPOSITORY))}", path.read_text())
