"""Queries that have a name: the files of db/queries/."""

from __future__ import annotations

from astraios.errors import UsageError, did_you_mean
from astraios.store.schema import sql_files


def named_queries() -> dict[str, str]:
    """What each query answers (its first line), by name."""
    return {name: sql.split("\n", 1)[0].removeprefix("--").strip() for name, sql in sql_files("queries").items()}


def named_query(name: str) -> str:
    """The text of a query.

    Raises:
        UsageError: there is none of that name.
    """
    files = sql_files("queries")
    if name not in files:
        raise UsageError(f"--query {name!r}: {did_you_mean(name, files)}")
    return files[name].rstrip().rstrip(";")
