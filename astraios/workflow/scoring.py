"""Scoring generations made elsewhere, and comparing two runs on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astraios import store
from astraios.errors import DataError, UsageError
from astraios.fit.sizes import parse_size
from astraios.records import AttemptRow, BaseModelRow, RunRow, SampleScore, TaskResult, TaskRow, TuningMethodRow, frame
from astraios.workflow.curating import find_run
from astraios.workflow.sizes import rung_names

COMPARED = ("a", "b", "difference", "low", "high", "p_value", "n", "only_a", "only_b", "differ")
"""Numbers of a comparison of two runs that conditions of --fail-if may name; `differ` is 0 or 1."""


@dataclass(frozen=True, kw_only=True)
class ScoreRequest:
    """What `astraios score` was asked for."""

    task: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task, by name: fields of ScoreOptions and its own; None is the default."""
    model: str | None = None
    method: str | None = None
    size: str | None = None


def score(
    db: Path | None, path: Path, request: ScoreRequest, cache: Path | None, progress: Callable[[int, int], None]
) -> tuple[list[dict[str, Any]], str]:
    """Scores generations made elsewhere, and records them where it is known whose they are.

    Args:
        db: the database, or None to record nothing.
        path: the generations.
        request: options.
        cache: file of verdicts.
        progress: told programs judged and in all.

    Returns:
        One object a metric, and what was recorded.

    Raises:
        DataError: the generations or the gold data are not what the task needs.
        UsageError: unknown task or model, or options that don't fit.
    """
    import dataclasses
    import time

    from astraios.evaluate.score import identify, score_generations, score_options

    options = score_options(request.task, **request.options)
    source = identify(path, request.model, request.method)
    known = source.model_id is not None and source.method_id is not None
    described = describe_scored(source.model_id, source.method_id, request.size, request.task) if db and known else None
    start = time.perf_counter()
    result = score_generations(path, request.task, options, cache=cache, progress=progress)
    rows = [{**dataclasses.asdict(one), "isolation": result.isolation} for one in result.scores]
    if db is None:
        return rows, "not recorded"
    if described is None:
        return rows, "not recorded: the name does not say whose generations these are; give --model and --method"
    record_scores(db, path.name, request.task, result, described, time.perf_counter() - start)
    run = described.run
    return rows, f"recorded as run {run.run_id} ({run.model_id}, {run.method_id}) in {db}"


@dataclass(frozen=True)
class Scored:
    """What was scored on a task and was not tuned here."""

    base_model: BaseModelRow
    tuning_method: TuningMethodRow
    task: TaskRow
    run: RunRow


def describe_scored(
    model_id: str | None,
    method_id: str | None,
    size: str | None,
    task: str,
    identity: str | None = None,
    settings: Mapping[str, Any] | None = None,
    base_revision: str | None = None,
) -> Scored:
    """What the database says of a run that was not tuned here.

    Args:
        model_id: base model.
        method_id: tuning method.
        size: parameters, where the model does not tell them.
        task: the task.
        identity: of the tuned model, where there may be several by the same method.
        settings: of the tuning method, where its adapter states them.
        base_revision: commit of the hub that the base came from.

    Raises:
        UsageError: one of them is unknown.
    """
    import hashlib

    from astraios.evaluate.tasks import TASKS
    from astraios.models.ladders import resolve
    from astraios.models.methods import METHODS

    ladder, rung = resolve(str(model_id))
    n_params = parse_size(size, rung_names(ladder.name)) if size else rung.n_params
    if n_params is None:
        raise UsageError(f"the size of {model_id} is not known: give it with --size, for instance --size 7B")
    method, chosen = METHODS.get(str(method_id)), TASKS.get(task)
    name = f"imported {rung.model_id} {method.name}" + (f" {identity}" if identity else "")
    run_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    about: dict[str, Any] = {"model_id": rung.model_id, "n_params": int(n_params)}
    return Scored(
        base_model=BaseModelRow(**about, ladder=ladder.name, architecture=rung.architecture),
        tuning_method=method.describe(),
        task=chosen.describe(),
        run=RunRow(
            **about,
            run_id=run_id,
            origin="imported",
            method_id=method.name,
            settings={"settings": dict(settings)} if settings else None,
            base_revision=base_revision,
        ),
    )


def record_scores(db: Path, source: str, task: str, result: TaskResult, described: Scored, seconds: float) -> None:
    """One task's scores of a run into the database, in place of those that it had of that task.

    Args:
        db: the database.
        source: what was scored, for the record.
        task: the task.
        result: what the task gave.
        described: as `describe_scored` gives it.
        seconds: wall time of the evaluation.
    """
    address: dict[str, Any] = {"run_id": described.run.run_id, "attempt": 1}
    attempt = AttemptRow(attempt=1, state="done")
    frames = {
        "base_model": frame([described.base_model]),
        "tuning_method": frame([described.tuning_method]),
        "task": frame([described.task]),
        "run": frame([described.run]),
        "attempt": frame([attempt], run_id=described.run.run_id),
        "evaluation": frame([result.evaluation(task, seconds, source=source)], **address),
        "score": frame(result.scores, **address),
        "sample_score": frame(result.samples, **address),
    }
    store.import_frames(db, frames, adds=True)


def compare(db: Path, a: str, b: str, task: str, seed: int) -> tuple[dict[str, Any], str]:
    """Whether two runs differ on the same samples of one task, as numbers and in words.

    Args:
        db: the database.
        a: run id (its beginning will do), or MODEL:METHOD.
        b: likewise.
        task: the task.
        seed: of the bootstrap.

    Raises:
        UsageError: no such run, or more than one.
        DataError: the runs have no sample of that task in common.
    """
    import dataclasses

    from astraios.evaluate.compare import compare as compare_samples
    from astraios.evaluate.tasks import cluster_of

    with store.reading(db) as connection:
        names, samples, shots = [], [], []
        ids = [find_run(connection, wanted) for wanted in (a, b)]
        for run_id, name in ids:
            found = store.run_query(
                connection,
                "select task_id, item_id, sample, value, verdict, n_shot from sample_score "
                "join latest_attempt using (run_id, attempt) where run_id = ? and task_id = ?",
                [run_id, task],
            )
            names.append(name)
            samples.append([SampleScore(**row) for row in found.iter_rows(named=True)])
            shots.append(sorted({sample.n_shot for sample in samples[-1]}))
            if found.is_empty():
                raise DataError(f"run {name} has no samples of task {task!r} in {db}: score it first")
        common = set(shots[0]) & set(shots[1])
        if not common:
            told = " and ".join(
                f"run {name} with {', '.join(map(str, n))}" for name, n in zip(names, shots, strict=True)
            )
            raise DataError(f"task {task!r} was asked with other demonstrations: {told}: score one as the other was")
        samples = [[sample for sample in part if sample.n_shot == min(common)] for part in samples]
        asked = "select engine from final_score where run_id = ? and task_id = ? and n_shot = ? and engine is not null"
        engines = [
            engine
            for run_id, _ in ids
            for engine in store.run_query(connection, asked, [run_id, task, min(common)])["engine"].unique().to_list()
        ]
    cluster = cluster_of(task)
    clusters = {one.item_id: cluster(one.item_id) for one in samples[0]}
    shared = clusters if len(set(clusters.values())) < len(clusters) else None
    difference = compare_samples(samples[0], samples[1], shared, seed=seed)
    words, engines = difference.words(*names), sorted(set(engines))
    if len(engines) > 1:
        words += f" Their answers were generated by {' and '.join(engines)}, whose samples are others."
    numbers = {**dataclasses.asdict(difference), "differ": difference.differ, "runs": names, "engines": engines}
    return numbers, words
