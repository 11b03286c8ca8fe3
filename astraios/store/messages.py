"""What DuckDB's errors say, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astraios.errors import StoreError


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        text = first_line(error)
        if "no space" in text.lower() or "disk" in text.lower():
            text = "the disk is full; free some space and run the same command again"
        raise StoreError(f"{path}: {text}") from None


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].startswith("LINE"):
        return f"{lines[0]} ({lines[1]})"
    return lines[0] if lines else type(error).__name__
