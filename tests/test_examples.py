"""Examples in docstrings are true: each one is run."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

import astraios
from tests.conftest import REPOSITORY

WITH_EXAMPLES = sorted(
    ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")
    for path in (REPOSITORY / "astraios").rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples(name: str) -> None:
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert done.attempted
    assert not done.failed


def test_public_calls_have_examples() -> None:
    assert {"astraios.fit.api", "astraios.fit.results"} <= set(WITH_EXAMPLES)


def test_an_editor_is_told_the_public_names_and_no_others() -> None:
    """In a process of its own: rooms that were imported are named too."""
    code = "import astraios; print(*(name for name in dir(astraios) if not name.startswith('_')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.split() == ["Sweep", "fit", "init", "load_fit", "open_db", "studies"]
    assert {name for name in dir(astraios) if not name.startswith("_")} >= {*astraios.__all__} - {"__version__"}
    for name in astraios.__all__:
        assert getattr(astraios, name) is not None
        assert name == "__version__" or getattr(astraios, name).__doc__, name
