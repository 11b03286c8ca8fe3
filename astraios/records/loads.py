"""What was imported, and what stood there before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Json, Timestamp, row_of


@dataclass(frozen=True, kw_only=True)
class LoadTime:
    """What a load gets when it is stored."""

    loaded_at: Annotated[Timestamp | None, Column("timestamp", "When, UTC.")] = None


@row_of("import_load", address=LoadTime)
@dataclass(frozen=True, kw_only=True)
class ImportLoad:
    """Imports that changed something, each with what it takes to undo it (`astraios import --undo LOAD`)."""

    load_id: Annotated[str, Column("varchar", "Number of the import in this database.")]
    format: Annotated[str, Column("varchar", "The format that was read, for instance trainer.")]
    source: Annotated[str, Column("varchar", "Name of the file or folder, without the way to it.")]
    created: Annotated[Json, Column("json", "Keys of the rows that were new, by table.")]
    replaced: Annotated[Json, Column("json", "Rows as they were before, by table.")]
