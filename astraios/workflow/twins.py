"""Runs of another tool that the database holds already, because astraios logged them while they trained."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store

if TYPE_CHECKING:
    from astraios.importers import Imported

_LOGGED = "select run_id, settings->'$.ids' as ids from run where json_exists(settings, '$.ids')"


def without_logged(db: Path, imported: Imported) -> Imported:
    """What is left of an import without the runs that were logged live under the id that their tracker gave them.

    A logged run keeps the ids under which other trackers logged it (`settings.ids.TOOL`: run, and project where the
    tool has projects). An import is of the same run where its tool and id are these.
    """
    runs = imported.frames.get("run")
    if runs is None or imported.adds or not db.exists():
        return imported
    logged = [(run_id, json.loads(ids)) for run_id, ids in store.query(db, _LOGGED).iter_rows()]
    twins = {
        run_id: (name, twin)
        for run_id, settings in runs.select("run_id", "settings").iter_rows()
        for name, twin in [_twin(json.loads(settings or "{}"), logged)]
        if twin not in (None, run_id)
    }
    if not twins:
        return imported
    import polars as pl

    frames = {
        table: frame.filter(~pl.col("run_id").is_in(list(twins))) if "run_id" in frame.columns else frame
        for table, frame in imported.frames.items()
    }
    told = {name: f"already there as {twin}, logged while it trained" for name, twin in twins.values()}
    return dataclasses.replace(imported, frames=frames, skipped={**imported.skipped, **told})


def _twin(settings: Any, logged: list[tuple[str, Any]]) -> tuple[str, str | None]:
    """What messages call a run, and the logged run that it is."""
    if not isinstance(settings, dict):
        return "", None
    tool, run, project = settings.get("source"), settings.get("run"), settings.get("project")
    for run_id, ids in logged:
        known = (ids or {}).get(tool) if run else None
        if known and known.get("run") == run and project in (None, "", known.get("project")):
            return f"run {settings.get('name') or run}", run_id
    return "", None
