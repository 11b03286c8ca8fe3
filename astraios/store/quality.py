"""Rows that belong to a study and are made anew as a whole: what its tasks can decide, its pass@k curves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astraios.store.connect import writing
from astraios.store.rows import arrow_table, insert


def replace_of_study(path: Path, table: str, study_key: str, rows: Sequence[Any]) -> None:
    """Writes the rows of a study in place of those that it had.

    Args:
        path: the database.
        table: benchmark_quality or pass_curve.
        study_key: the study.
        rows: records of that table.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        connection.execute(f"delete from {table} where study_key = ?", [study_key])
        if rows:
            insert(connection, table, arrow_table(list(rows)))
