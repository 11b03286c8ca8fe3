"""Evaluating a model that need not have been tuned here: generate, execute, score, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astraios.errors import UsageError
from astraios.evaluate.options import EvaluateOptions, Subject
from astraios.workflow.scoring import describe_scored, record_scores

Recorded = Callable[[str], None]
"""Told in a line what became of a task."""


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """What `astraios evaluate` was asked for."""

    subject: Subject
    tasks: Sequence[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the tasks, by name: fields of EvaluateOptions and each task's own; None is the default."""
    method: str | None = None
    base: str | None = None
    size: str | None = None


def evaluate(db: Path | None, request: EvaluateRequest, out: Path, tell: Recorded) -> list[dict[str, Any]]:
    """Scores a model on tasks, one after the other; each is recorded as soon as it is done.

    Args:
        db: the database, or None to record nothing.
        request: options.
        out: folder in which answers and verdicts are kept, so that the same command goes on.
        tell: told what became of each task.

    Returns:
        One object a task and metric.

    Raises:
        UsageError: unknown model, task, method or engine.
        CellError: the model can't be loaded.
        DataError: the gold data can't be had.
    """
    import dataclasses

    from astraios.evaluate.model import check, evaluate, identity, is_named, load, model_size, pinned, tuning_method
    from astraios.evaluate.tasks import TASKS, options_of
    from astraios.runs.directory import ASKED

    subject = request.subject
    if "engine" in request.options:
        raise UsageError("--set engine: choose --engine")
    options = options_of(request.tasks, EvaluateOptions, request.options)
    check(subject, request.tasks)
    name, commit = pinned(subject)
    who, before = identity(subject, commit), identity(subject)
    if is_named(subject) and not (out / "evaluations" / who).exists() and (out / "evaluations" / before).exists():
        who, commit = before, None  # answers from a time when a model's name was all that is known
    folder, trial = out / "evaluations" / who, request.options.get("limit") is not None
    told = tuning_method(subject)
    method = request.method or (told[0] if told else None)
    if db and method is None and (subject.adapter or not trial):
        raise UsageError(
            f"{subject.adapter or subject.model} does not say its tuning method: name it with --method (fft for a "
            "model that was tuned whole), or record nothing with --dry-run"
        )
    base, size = request.base or subject.model, request.size
    records = db is not None and not trial
    if records and size is None:
        size = str(model_size(request.base or (f"{name}@{commit}" if commit else name)))
    settings = told[1] if told and told[0] == method else None
    came = commit if request.base is None else None
    described = (
        {task: describe_scored(base, method, size, task, who, settings, came) for task in request.tasks}
        if records
        else {}
    )
    tuned = load(subject)
    rows = []
    for task in request.tasks:
        start = time.perf_counter()
        result = evaluate(tuned, task, dataclasses.replace(options[task], folder=folder))
        how = {**result.settings, ASKED: TASKS.get(task).told(options[task])}
        result = dataclasses.replace(result, settings=how)
        rows += [{**dataclasses.asdict(one), "isolation": result.isolation} for one in result.scores]
        rows_of_run = described.get(task)
        if db is None or rows_of_run is None:
            tell(f"{task}: not recorded" + (": --limit makes it a trial" if trial else ""))
            continue
        record_scores(db, subject.model, task, result, rows_of_run, time.perf_counter() - start)
        tell(f"{task}: recorded as run {rows_of_run.run.run_id} in {db}")
    return rows


def evaluate_checkpoints(db: Path | None, request: EvaluateRequest, tell: Recorded) -> list[dict[str, Any]]:
    """Scores the weights that a run of ours has kept along its training, and records the scores with it.

    Args:
        db: the database, or None to record nothing but in the run directory.
        request: options; its subject's model is a run directory, of which the rest is known.
        tell: told of each checkpoint.

    Returns:
        One object a step, task and metric.

    Raises:
        UsageError: something was said that the run directory tells, or a trial was asked for; unknown task or option.
        CellError: no finished run with kept checkpoints there.
        DataError: the gold data can't be had.
    """
    import dataclasses

    from astraios import store
    from astraios.collect.cell.scoring import score_checkpoints
    from astraios.models.devices import found_device

    subject = request.subject
    told = {"adapter": subject.adapter, "method": request.method, "base": request.base, "size": request.size}
    told |= {"ray": subject.ray, "quantization": subject.quantization, "records": subject.records}
    told |= {"revision": subject.revision}
    if subject.engine == "vllm":
        raise UsageError("--checkpoints scores weights in memory: leave --engine vllm away")
    for name, value in told.items():
        if value is not None:
            raise UsageError(f"--checkpoints takes --{name} from the run directory: leave it away")
    if request.options.get("limit") is not None:
        raise UsageError("--checkpoints with --limit: scores of a trial would stand among real ones; leave it away")
    path = Path(subject.model)
    options = {**request.options, "engine": None if subject.engine == "auto" else subject.engine}
    points = score_checkpoints(path, request.tasks, options, subject.device or found_device(), tell)
    if db is not None:
        report = store.ingest(db, path.parent)
        tell(report.skipped.get(path.name, f"recorded with run {path.name} in {db}"))
    return [dataclasses.asdict(point) for point in points]
