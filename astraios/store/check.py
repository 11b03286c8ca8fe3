"""Looking for rows that should not be there."""

from __future__ import annotations

from pathlib import Path

from astraios.store.connect import reading, run_query
from astraios.store.schema import sql_files


def failed_checks(path: Path) -> dict[str, int]:
    """Number of offending rows by check; empty when the database is sound."""
    with reading(path) as connection:
        counts = {
            name: len(run_query(connection, sql.rstrip().rstrip(";"))) for name, sql in sql_files("checks").items()
        }
    return {name: count for name, count in counts.items() if count}
