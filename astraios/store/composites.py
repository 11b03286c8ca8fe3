"""Mean scores that people chose: the rows of the table `composite`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from astraios.errors import UsageError, did_you_mean
from astraios.records import CompositeRow
from astraios.store.connect import query, reading, run_query, writing
from astraios.store.rows import arrow_table, insert
from astraios.store.studies import choose


def composites(path: Path) -> list[dict[str, Any]]:
    """All mean scores of a database, a row a task.

    Raises:
        StoreError: there is no database.
    """
    return query(path, "from composite order by study nulls first, name, task_id, metric").to_dicts()


def set_composites(path: Path, rows: Sequence[CompositeRow]) -> None:
    """Writes mean scores; one of the same name and study is replaced.

    Raises:
        StoreError: the database can't be written.
    """
    if not rows:
        return
    with writing(path) as connection:
        for name, study in {(row.name, row.study) for row in rows}:
            connection.execute("delete from composite where name = ? and study is not distinct from ?", [name, study])
        insert(connection, "composite", arrow_table(list(rows)))


def remove_composite(path: Path, name: str, study: str | None) -> None:
    """Takes a mean score away.

    Raises:
        UsageError: there is none of this name for this study.
    """
    known = [row["name"] for row in composites(path) if row["study"] == study]
    if name not in known:
        of = f" for study {study!r}" if study else ""
        raise UsageError(f"no composite {name!r}{of}: {did_you_mean(name, dict.fromkeys(known))}")
    with writing(path) as connection:
        connection.execute("delete from composite where name = ? and study is not distinct from ?", [name, study])


def scored_metrics(path: Path, task_ids: Sequence[str]) -> list[dict[str, Any]]:
    """Tasks as a database knows them: task_id, metric and whether more of it is better, a row a metric."""
    with reading(path) as connection:
        return run_query(
            connection,
            "select distinct task_id, metric, higher_is_better, is_main_metric from final_score "
            "where list_contains(?, task_id) order by all",
            [list(task_ids)],
        ).to_dicts()


def composite_study(path: Path, wanted: str) -> str:
    """The study that a mean score is for, as the table says it: a ladder (or family of bases), or the key of a study.

    Raises:
        UsageError: no study of the database is called so.
    """
    with reading(path) as connection:
        bases = run_query(connection, "select distinct base from run_study")["base"].to_list()
        if wanted in bases:
            return wanted
        study = choose(connection, path, wanted)
    if len(study.keys) > 1:
        raise UsageError(f"--study {wanted}: one study, or one ladder with all its studies")
    return study.keys[0]
