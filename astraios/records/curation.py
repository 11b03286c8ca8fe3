"""What people say about runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from astraios.records.table import Column, Timestamp, row_of


@row_of("curation")
@dataclass(frozen=True, kw_only=True)
class CurationRow:
    """Tags and exclusions of runs, in the order in which they were said; nothing is ever deleted."""

    run_id: Annotated[str, Column("varchar", "The run.")]
    action: Annotated[str, Column("varchar", "tag, untag, exclude or include.")]
    tag: Annotated[str | None, Column("varchar", "The tag, for tag and untag.")] = None
    reason: Annotated[str | None, Column("varchar", "Why; always there for exclude.")] = None
    author: Annotated[str | None, Column("varchar", "Who said so, if they gave a name.")] = None
    created_at: Annotated[Timestamp, Column("timestamp", "When, UTC.")]
