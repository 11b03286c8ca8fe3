"""Whether benchmarks are worth their runs: what each task and metric of a study can decide, stored and told."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios import store
from astraios.errors import StoreError, UsageError
from astraios.records import QualityRow, plain_rows
from astraios.workflow.tasks import with_guessing

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

    from astraios.fit.decide.compare import Paired
    from astraios.fit.decide.quality import Quality

_SCORES = """\
select run_id, coalesce(series, method_id) as method_id, n_params, task_id, metric, value, stderr, n, chance, ceiling,
    higher_is_better, is_main_metric
from final_score
where is_main_n_shot and value is not null and {condition}
order by task_id, metric, method_id, n_params, run_id"""
_SAMPLES = """\
select f.task_id, coalesce(f.series, f.method_id) as method_id, s.item_id, avg(s.value) as value, avg(f.value) as score
from sample_score s
join latest_attempt using (run_id, attempt)
join final_score f on f.run_id = s.run_id and f.task_id = s.task_id and f.n_shot = s.n_shot and f.is_main_metric
where f.is_main_n_shot and f.{condition}
    and f.n_params = (select max(g.n_params) from final_score g where g.{condition} and g.task_id = f.task_id)
group by all
order by all"""
_TAILS = """\
select coalesce(series, method_id) as method_id, n_params, run_id, task_id, metric, list(value order by step) as scores
from score_curve
where {condition}
group by all
order by all"""


def benchmark_quality(
    db: Path, study: str | None = None, difference: float = 0.02, task: str | None = None
) -> list[dict[str, Any]]:
    """What each metric of each task of a study can decide; a row each, stored in the table `benchmark_quality`.

    Args:
        db: the database.
        study: by its name or the beginning of it.
        difference: the difference that power is about: a fraction.
        task: one alone; then nothing is stored.

    Raises:
        StoreError: no database, or the study has no score.
        UsageError: no such study or task; a difference that is none.
    """
    if not 0 < difference < 1:
        raise UsageError(f"--difference {difference:g}: a fraction between 0 and 1, for instance 0.02 for two points")
    with store.reading(db) as connection:
        chosen = store.choose_study(connection, db, study)
        found = _assess(connection, chosen, difference)
    if not found:
        raise StoreError(f"{db}: study {chosen.name} has no score of two methods: score some runs first")
    if task is not None:
        mine = [one for one in found if one.task_id == task]
        if not mine:
            raise UsageError(f"study {chosen.name} has no scores of task {task!r}")
        found = mine
    rows = _rows(chosen.key, found)
    if task is None:
        store.replace_of_study(db, "benchmark_quality", chosen.key, rows)
    shown = plain_rows(rows)
    for row, one in zip(shown, found, strict=True):
        row.pop("created_at")
        row["groups"], row["decisions"] = [list(g) for g in one.groups], [asdict(d) for d in one.decisions]
    return shown


def _assess(connection: DuckDBPyConnection, study: store.Study, difference: float) -> list[Quality]:
    from astraios.fit.decide.quality import assess
    from astraios.fit.scores.data import read_scores

    scores = with_guessing(store.run_query(connection, _SCORES.format(condition=study.condition)))
    main = set(scores.filter(scores["is_main_metric"]).select("task_id", "metric").unique().iter_rows())
    paired = _paired(connection, study)
    tails: dict[tuple[str, str], dict[tuple[str, float], Sequence[float]]] = {}
    for row in store.run_query(connection, _TAILS.format(condition=study.condition)).iter_rows(named=True):
        place = (f"{row['method_id']} {row['run_id']}", float(np.log(row["n_params"])))
        tails.setdefault((row["task_id"], row["metric"]), {})[place] = row["scores"]
    found = []
    for data in read_scores(scores, by_size=True):
        if len(set(data.group)) < 2:
            continue
        key = (data.task_id, data.metric)
        sharper = paired.get(data.task_id) if key in main else None
        found.append(assess(data, difference, paired=sharper, tails=tails.get(key)))
    return found


def _paired(connection: DuckDBPyConnection, study: store.Study) -> dict[str, dict[tuple[str, str], Paired]]:
    """Differences between methods at the largest size over the items that two of them share, by task.

    A metric that is no mean over its samples (the worst of several variants, an F1) tells nothing that way.
    """
    from astraios.evaluate.tasks import cluster_of
    from astraios.fit.decide.compare import paired

    samples = store.run_query(connection, _SAMPLES.format(condition=study.condition))
    found: dict[str, dict[tuple[str, str], Paired]] = {}
    for (task,), rows in samples.group_by(["task_id"], maintain_order=True):
        cluster = cluster_of(str(task))
        items = {
            str(method): dict(zip(mine["item_id"], mine["value"], strict=True))
            for (method,), mine in rows.group_by(["method_id"], maintain_order=True)
            if np.isclose(mine["value"].to_numpy().mean(), mine["score"].to_numpy().mean(), rtol=1e-6, atol=1e-9)
        }
        for one, other in itertools.combinations(sorted(items), 2):
            both = [item for item in items[one] if item in items[other]]
            groups = [cluster(item) for item in both]
            if len(set(groups)) > 2:
                first, second = ([items[name][item] for item in both] for name in (one, other))
                found.setdefault(str(task), {})[one, other] = paired(first, second, groups)
    return found


def _rows(study_key: str, found: Sequence[Quality]) -> list[QualityRow]:
    best = _best_metrics(found)
    now = datetime.now(UTC).replace(tzinfo=None)
    return [
        QualityRow(
            study_key=study_key, task_id=one.task_id, metric=one.metric, n_methods=len(one.methods),
            n_params_small=one.last.n_params if one.last else None, n_params_large=one.n_params,
            n_pairs=one.last.n_pairs if one.last else 0,
            decision_accuracy=one.last.accuracy if one.last else None, decisions=[asdict(d) for d in one.decisions],
            signal=one.signal, noise=one.noise, noise_from=one.noise_from, signal_to_noise=one.signal_to_noise,
            difference=one.difference, n_items=one.n_items, n_needed=one.n_needed, seeds_needed=one.seeds_needed,
            power=one.power, is_paired=one.is_paired, distance_from_chance=one.distance_from_chance,
            is_best_metric=best.get(one.task_id) == one.metric, groups=[list(g) for g in one.groups],
            decides=not one.reasons, words=one.words, created_at=now,
        )
        for one in found
    ]  # fmt: skip


def _best_metrics(found: Sequence[Quality]) -> Mapping[str, str]:
    """Of each task the metric that decides best: by decision accuracy, then by signal to noise."""
    best: dict[str, tuple[tuple[float, float], str]] = {}
    for one in found:
        key = (one.last.accuracy if one.last else -1.0, one.signal_to_noise or -1.0)
        if one.task_id not in best or key > best[one.task_id][0]:
            best[one.task_id] = (key, one.metric)
    return {task: metric for task, (_, metric) in best.items()}
