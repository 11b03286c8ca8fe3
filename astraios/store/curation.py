"""What people say about runs: tags, and exclusions with their reasons. It is recorded, and never deletes a run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.records import CurationRow
from astraios.store.connect import writing
from astraios.store.rows import arrow_table, insert

ACTIONS = ("tag", "untag", "exclude", "include")


def curate(
    path: Path,
    run_ids: Sequence[str],
    action: str,
    *,
    tag: str | None = None,
    reason: str | None = None,
    author: str | None = None,
) -> None:
    """Records one action on some runs.

    Args:
        path: the database.
        run_ids: whole ids of runs that are there.
        action: one of ACTIONS; an excluded run is left out of every view and fit until it is included again.
        tag: the tag, for tag and untag.
        reason: why.
        author: who says so; kept only if given.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        now = datetime.now(UTC).replace(tzinfo=None)
        about: dict[str, Any] = {"action": action, "tag": tag, "reason": reason, "author": author, "created_at": now}
        insert(connection, "curation", arrow_table([CurationRow(run_id=run_id, **about) for run_id in run_ids]))
