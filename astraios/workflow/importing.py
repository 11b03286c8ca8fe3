"""Importing: results of other tools and built-in studies into the database."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astraios import store
from astraios.errors import UsageError


def import_results(db: Path, source: str, form: str | None, mapping: Sequence[str], dry_run: bool) -> dict[str, Any]:
    """Takes results of another tool, or a built-in study, into the database.

    Args:
        db: the database.
        source: a path, or the name of a built-in study.
        form: name of the format, or None to guess it.
        mapping: COLUMN=NAME pairs, astraios's name of a column first.
        dry_run: read and count, write nothing.

    Raises:
        UsageError: unknown format or malformed mapping.
        DataError: the source can't be read.
    """
    from astraios.collect.importers import choose

    columns = {}
    for pair in mapping:
        ours, found, theirs = pair.partition("=")
        if not found or not ours or not theirs:
            raise UsageError(f"--map {pair!r}: write COLUMN=NAME, for instance loss=eval/loss")
        columns[ours] = theirs
    importer = choose(source, form)
    imported = importer.read(source, columns)
    rows = {table: len(frame) for table, frame in imported.frames.items()}
    if not dry_run:
        store.import_frames(db, imported.frames)
    return {"format": importer.name, "title": importer.title, "rows": rows, "skipped": dict(imported.skipped)}
