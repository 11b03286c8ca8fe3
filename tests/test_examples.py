"""Examples in docstrings are true: each one is run."""

from __future__ import annotations

import doctest
import importlib

import pytest

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
