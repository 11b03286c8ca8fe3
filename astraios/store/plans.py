"""Rows of the tables allocation, isoflop, next_run, speed_up and not_planned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.records import TABLES, IsoflopRow, frame
from astraios.records.plans import BUDGETS, PlanRow
from astraios.store.connect import writing
from astraios.store.rows import insert

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def write_plans(path: Path, rows: Sequence[PlanRow]) -> None:
    """Stores what planning said of a study, in place of what it said before to the same question.

    Raises:
        StoreError: the database can't be written.
    """
    if rows:
        with writing(path) as connection:
            add_plans(connection, rows)


def add_plans(connection: DuckDBPyConnection, rows: Sequence[PlanRow], anew: Iterable[str] = ()) -> None:
    """The same in a transaction that has begun.

    Args:
        connection: in a transaction.
        rows: answers.
        anew: studies of which all that `fit-scaling` plans is in `rows`.
    """
    for study in anew:
        connection.execute("delete from allocation where study_key = ? and asked = ?", [study, BUDGETS])
        for table in ("isoflop", "next_run", "not_planned", "speed_up"):
            connection.execute(f"delete from {table} where study_key = ?", [study])
    now = datetime.now(UTC).replace(tzinfo=None)
    tables: dict[str, list[Any]] = {}
    for row in rows:
        stamped = row if isinstance(row, IsoflopRow) else replace(row, created_at=now)
        tables.setdefault(_TABLE[type(row)], []).append(stamped)
    for table, content in tables.items():
        for key in dict.fromkeys(tuple(getattr(row, name) for name in _KEYS[table]) for row in content):
            where = " and ".join(f"{name} is not distinct from ?" for name in _KEYS[table])
            connection.execute(f"delete from {table} where {where}", list(key))
        insert(connection, table, frame(content).to_arrow())


_TABLE: Mapping[type, str] = {table.record: name for name, table in TABLES.items()}
_KEYS = {
    "allocation": ("study_key", "asked"),
    "isoflop": ("study_key",),
    "next_run": ("study_key",),
    "not_planned": ("study_key",),
    "speed_up": ("study_key", "series", "faster", "unit"),
}
"""What names a question: its answers are replaced together."""
