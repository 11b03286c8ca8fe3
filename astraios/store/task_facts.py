"""What people say about tasks: the rows of the table `task_fact`, and all that a database knows of its tasks."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astraios.records import TaskFactRow
from astraios.store.connect import query, writing
from astraios.store.rows import arrow_table, insert

_KNOWN = """
select f.task_id, f.metric, count(*) as n_scores, min(f.value) as lowest, max(f.value) as highest,
    any_value(f.chance) as chance,
    case when any_value(f.chance) is null then null
        when exists (select 1 from task_fact o where o.task_id = f.task_id and o.chance is not null
            and (o.metric is null or o.metric = f.metric)) then 'user'
        else any_value(coalesce(t.chance_from, 'task')) end as chance_from,
    any_value(f.ceiling) as ceiling, any_value(f.higher_is_better) as higher_is_better,
    any_value(f.is_main_metric) as is_main_metric, any_value(t.citation) as citation
from final_score f left join task t using (task_id)
where f.value is not null
group by f.task_id, f.metric
order by f.task_id, is_main_metric desc, f.metric"""


def known_tasks(path: Path) -> list[dict[str, Any]]:
    """Every metric of every task that has a score, a row each.

    Raises:
        StoreError: there is no database.
    """
    return query(path, _KNOWN).to_dicts()


def task_facts(path: Path) -> list[TaskFactRow]:
    """What people have said.

    Raises:
        StoreError: there is no database.
    """
    return [TaskFactRow(**row) for row in query(path, "from task_fact order by all").to_dicts()]


def set_task_fact(path: Path, task: str, metric: str | None, chance: float | None, ceiling: float | None) -> None:
    """Records what is said of a task, or of one of its metrics; what was said of the same before and is not now, stays.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        before = connection.execute(
            "select chance, ceiling from task_fact where task_id = ? and metric is not distinct from ?", [task, metric]
        ).fetchone() or (None, None)
        connection.execute("delete from task_fact where task_id = ? and metric is not distinct from ?", [task, metric])
        row = TaskFactRow(
            task_id=task, metric=metric, chance=before[0] if chance is None else chance,
            ceiling=before[1] if ceiling is None else ceiling, created_at=datetime.now(UTC).replace(tzinfo=None),
        )  # fmt: skip
        insert(connection, "task_fact", arrow_table([row]))


def forget_task_facts(path: Path, task: str, metric: str | None) -> int:
    """Takes back what was said of a task, or of one of its metrics; how many rows that were.

    Raises:
        StoreError: the database can't be written.
    """
    with writing(path) as connection:
        rows = connection.execute(
            "delete from task_fact where task_id = ? and (?::varchar is null or metric = ?)", [task, metric, metric]
        ).fetchall()
    return int(rows[0][0])
