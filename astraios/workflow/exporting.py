"""Exports: every table for astraios itself, or the evaluations in the schema that projects of evaluations share."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

from astraios import store
from astraios.errors import StoreError
from astraios.files import write_atomically

_SCORES = """
select s.run_id, s.task_id, s.n_shot, s.metric, s.value, s.stderr, s.n,
    case when t.lower_is_better is null then t.higher_is_better or s.metric <> t.metric
        else not list_contains(t.lower_is_better::varchar[], s.metric) end as higher_is_better
from score s join latest_attempt using (run_id, attempt) join task t using (task_id)
where s.value is not null and isfinite(s.value)
order by all
"""


def export(db: Path, folder: Path, form: str) -> dict[str, int]:
    """Writes every table to a file of its own (`store.export`), or with "every-eval-ever" a file a run that has scores.

    Returns:
        Rows by table.

    Raises:
        UsageError: unknown format.
        StoreError: the folder can't be written or holds something else, or no run has a score.
    """
    from astraios.importers.every_eval_ever import every_eval_ever

    return _evaluations(db, folder) if form == every_eval_ever.name else store.export(db, folder, form)


def _evaluations(db: Path, folder: Path) -> dict[str, int]:
    from astraios.importers.every_eval_ever import document

    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} holds other files: name a new or empty folder")
    with store.reading(db) as connection:
        scores = store.run_query(connection, _SCORES).partition_by("run_id", as_dict=True)
    if not scores:
        raise StoreError(f"{db} holds no score")
    runs = {row["run_id"]: row for row in store.stored_runs(db)}
    now = f"{time.time():.0f}"
    try:
        for (run_id,), rows in scores.items():
            run = runs[run_id]
            content = document(run, rows.to_dicts(), now)
            place = folder.joinpath(*map(_plain, str(run["model_id"]).split("/")))
            place.mkdir(parents=True, exist_ok=True)
            write_atomically(place / f"{_plain(run_id)}.json", json.dumps(content, indent=1, allow_nan=False).encode())
    except OSError as error:
        raise StoreError(f"{folder}: can't be written ({error.strerror or error})") from None
    return {"run": len(scores), "score": sum(len(rows) for rows in scores.values())}


def _plain(part: str) -> str:
    """A part of a path by a name that anybody may have given."""
    return re.sub(r"[^\w.:-]", "_", part).lstrip(".")[:100] or "_"
