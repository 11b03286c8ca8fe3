"""pass@k over k: of runs whose samples are stored, at larger k, and at larger models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios import store
from astraios.errors import StoreError, UsageError
from astraios.fit.notes import FitWarning
from astraios.fit.sizes import target_sizes
from astraios.records import PassPointRow, plain_rows

if TYPE_CHECKING:
    from astraios.evaluate.passk import PassPoint

LEVEL = 0.9
OPEN, OTHER_SHOTS = "unsolved_unknown", "other_shots"
"""Codes of a point whose interval is mainly what the samples leave open, and of runs that are left out."""
_COUNTS = """\
select r.run_id, r.method_id, r.n_params, s.task_id, s.n_shot, list(s.n order by s.item_id) as samples,
    list(s.passed order by s.item_id) as passed, min(s.n_shot) over (partition by s.task_id) as fewest
from (
    select run_id, attempt, task_id, item_id, n_shot, count(*) as n, count(*) filter (where value >= 1) as passed
    from sample_score where verdict is not null group by all
) s
join latest_attempt using (run_id, attempt)
join run r using (run_id)
join task t on t.task_id = s.task_id and t.metric like '%pass@%'
where r.{condition}
group by r.run_id, r.method_id, r.n_params, s.task_id, s.n_shot
order by s.task_id, r.method_id, r.n_params, r.run_id"""


def pass_curves(
    db: Path, study: str | None = None, task: str | None = None, most: int | None = None,
    targets: Sequence[str | float] = (),
) -> tuple[list[dict[str, Any]], list[FitWarning]]:  # fmt: skip
    """pass@k over k of every run whose samples are stored, a row a k, and warnings; kept in the table `pass_curve`.

    Curves of a task are of samples with equally many demonstrations: the fewest that any of the study's runs had.

    Args:
        db: the database.
        study: by its name or the beginning of it.
        task: one alone.
        most: largest k; by default ten times the samples that there are.
        targets: sizes to project to, each k from the same k of the smaller models.

    Raises:
        StoreError: no database, or it holds no samples of programs.
        UsageError: no such study or task; a k below 1; a target that is no size, or too few sizes.
    """
    from astraios.evaluate.passk import curve, grid

    if most is not None and most < 1:
        raise UsageError(f"--k {most}: samples allowed are 1 or more")
    with store.reading(db) as connection:
        chosen = store.choose_study(connection, db, study)
        runs = store.run_query(connection, _COUNTS.format(condition=chosen.condition)).to_dicts()
    if task is not None:
        runs = [run for run in runs if run["task_id"] == task]
    if not runs:
        what = f" of task {task!r}" if task else ""
        raise StoreError(f"{db}: study {chosen.name} holds no samples of programs{what}: `astraios score` records them")
    runs, warnings = [run for run in runs if run["n_shot"] == run["fewest"]], _other_shots(runs)
    now = datetime.now(UTC).replace(tzinfo=None)
    rows: list[PassPointRow] = []
    curves: dict[tuple[str, int], list[tuple[dict[str, Any], PassPoint]]] = {}
    for run in runs:
        least = min(run["samples"])
        for point in curve(run["samples"], run["passed"], grid(most or 10 * least), LEVEL):
            curves.setdefault((run["task_id"], point.k), []).append((run, point))
            rows.append(_row(chosen.key, run, point, now))
    if targets:
        rows += _projected(chosen.key, curves, target_sizes(targets, sorted({r["n_params"] for r in runs}), {}), now)
    if task is None:
        store.replace_of_study(db, "pass_curve", chosen.key, rows)
    plain = [{k: v for k, v in row.items() if k != "created_at"} for row in plain_rows(rows)]
    return plain, [*warnings, *_open(plain)]


def _other_shots(runs: Sequence[Mapping[str, Any]]) -> list[FitWarning]:
    """A warning for each task that some runs have samples of with more demonstrations alone."""
    kept = {(run["task_id"], run["run_id"]) for run in runs if run["n_shot"] == run["fewest"]}
    found: dict[str, dict[str, int]] = {}
    for run in runs:
        if (run["task_id"], run["run_id"]) not in kept:
            found.setdefault(run["task_id"], {})[run["run_id"]] = run["n_shot"]
    fewest = {run["task_id"]: run["fewest"] for run in runs}
    notes = []
    for task, left in found.items():
        whose = ", ".join(f"{run} with {n}" for run, n in sorted(left.items()))
        words = (
            f"{task}: curves are of samples with {fewest[task]} demonstrations; left out are {whose}: score them with "
            f"as many, or choose another study"
        )
        notes.append(FitWarning(OTHER_SHOTS, words, task))
    return notes


def _open(rows: Sequence[Mapping[str, Any]]) -> list[FitWarning]:
    """A warning for each task of which some interval is mainly what the samples leave open."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row["warning"] == OPEN:
            found.setdefault(row["task_id"], []).append(row)
    notes = []
    for task, mine in found.items():
        first, n = min(row["k"] for row in mine), min(row["n_samples"] for row in mine)
        whose = dict.fromkeys(f"{row['method_id']} at {row['n_params']:.3g} parameters" for row in mine)
        words = (
            f"{task}: {n} samples leave open how many of the problems that none of them solved more would solve; from "
            f"k = {first} on that is over half of an interval ({', '.join(whose)})"
        )
        notes.append(FitWarning(OPEN, words, task))
    return notes


def _row(study_key: str, run: dict[str, Any], point: PassPoint, now: datetime) -> PassPointRow:
    return PassPointRow(
        study_key=study_key, task_id=run["task_id"], method_id=run["method_id"], n_params=float(run["n_params"]),
        run_id=run["run_id"], k=point.k, value=point.value, low=point.low, high=point.high,
        n_samples=min(run["samples"]), n_problems=len(run["samples"]), is_projected=point.is_projected,
        warning=OPEN if point.is_open else None, created_at=now,
    )  # fmt: skip


def _projected(
    study_key: str, curves: dict[tuple[str, int], list[tuple[dict[str, Any], PassPoint]]], sizes: Sequence[float],
    now: datetime,
) -> list[PassPointRow]:  # fmt: skip
    """Each k at larger models, from the same k of the smaller ones, straight from size."""
    from astraios.fit.scores import by_size
    from astraios.fit.scores.data import ScoreData
    from astraios.fit.scores.part import ends

    rows = []
    for (task, k), found in curves.items():
        if len({run["n_params"] for run, _ in found}) < 2 or len(found) < 3:
            raise UsageError(f"--target: task {task} has too few sizes with samples to project pass@{k} to another")
        value = np.array([point.value for _, point in found])
        problems = float(np.median([len(run["passed"]) for run, _ in found]))
        data = ScoreData(
            task, f"pass@{k}", tuple(run["method_id"] for run, _ in found), tuple(run["run_id"] for run, _ in found),
            np.log([float(run["n_params"]) for run, _ in found]), np.full(len(found), np.nan), value,
            np.maximum([point.stderr for _, point in found], 0.5 / problems), problems, 0.0, 1.0, True,
        )  # fmt: skip
        model = by_size.build(data)
        for size in sizes:
            drawn = ends(*model.draw(np.random.default_rng([k]), float(np.log(size)), 1000), LEVEL)
            rows += [
                PassPointRow(
                    study_key=study_key, task_id=task, method_id=name, n_params=float(size), k=k,
                    value=float(drawn[0, g]), low=float(drawn[1, g]), high=float(drawn[2, g]),
                    n_samples=min(min(run["samples"]) for run, _ in found), n_problems=int(problems),
                    is_projected=True, created_at=now,
                )
                for g, name in enumerate(model.names)
            ]  # fmt: skip
    return rows
