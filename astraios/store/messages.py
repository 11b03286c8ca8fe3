"""What DuckDB's errors say, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astraios.errors import StoreError

MEND = "`astraios db rebuild` makes it anew from the run directories"


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.Error as error:
        text = first_line(error)
        if any(words in text.lower() for words in ("no space", "disk", "file too large", "could not write all bytes")):
            text = "the disk is full; the database is as it was: free some space and run the same command again"
        elif is_damage(error):
            text = f"it is damaged ({text}): {MEND}"
        raise StoreError(f"{path}: {text}") from None


def is_damage(error: BaseException) -> bool:
    """Whether an error of DuckDB says that the file is not what was written."""
    import duckdb

    kinds = (duckdb.IOException, duckdb.FatalException, duckdb.InternalException, duckdb.SerializationException)
    return isinstance(error, kinds) or "corrupt" in str(error).lower()


def first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[1].startswith("LINE"):
        return f"{lines[0]} ({lines[1]})"
    return lines[0] if lines else type(error).__name__
