"""These tests count processes and files of the whole machine: one at a time, however many workers run them."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A lock that the workers of a run share, however tests are dealt out to them."""
    with open(tmp_path_factory.getbasetemp().parent / "execute.lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
