"""Evaluating a model that need not have been tuned here: generate, execute, score, record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from astraios.errors import UsageError
from astraios.workflow.scoring import describe_scored, record_scores

Recorded = Callable[[str], None]
"""Told in a line what became of a task."""


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The options of `astraios evaluate`."""

    model: str
    tasks: Sequence[str]
    adapter: Path | None = None
    method: str | None = None
    base: str | None = None
    size: str | None = None
    data: Path | None = None
    records: Path | None = None
    engine: str = "auto"
    ray: str | None = None
    engines: int = 1
    device: str | None = None
    dtype: str = "auto"
    quantization: str | None = None
    trust_remote_code: bool = False
    n_samples: int | None = None
    limit: int | None = None
    batch: int | None = None
    language_level: int | None = None
    nominal: float | None = None
    seed: int = 0


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

    from astraios.evaluate.model import Subject, check, evaluate, load, model_size, tuning_method

    options = {
        "data_dir": str(request.data) if request.data else None,
        "n_samples": request.n_samples,
        "limit": request.limit,
        "batch": request.batch,
        "language_level": request.language_level,
        "nominal": request.nominal,
    }
    subject = Subject(
        model=request.model,
        adapter=request.adapter,
        engine=request.engine,
        ray=request.ray,
        engines=request.engines,
        device=request.device,
        dtype=request.dtype,
        quantization=request.quantization,
        trust_remote_code=request.trust_remote_code,
        seed=request.seed,
        records=request.records,
    )
    check(subject, request.tasks)
    identity = subject.identity
    options["folder"] = str(out / "evaluations" / identity)
    subject = dataclasses.replace(subject, options={k: v for k, v in options.items() if v is not None})
    method = request.method or tuning_method(request.adapter)
    if db and method is None and (request.adapter or request.limit is None):
        raise UsageError(
            f"{request.adapter or request.model} does not say its tuning method: name it with --method (fft for a "
            "model that was tuned whole), or record nothing with --dry-run"
        )
    base, size = request.base or request.model, request.size
    records = db is not None and request.limit is None
    if records and size is None:
        size = str(model_size(base))
    described = {task: describe_scored(base, method, size, task, identity) for task in request.tasks} if records else {}
    tuned = load(subject)
    rows = []
    for task in request.tasks:
        start = time.perf_counter()
        result = evaluate(tuned, task)
        rows += [{**dataclasses.asdict(one), "isolation": result.isolation} for one in result.scores]
        rows_of_run = described.get(task)
        if db is None or rows_of_run is None:
            tell(f"{task}: not recorded" + (": --limit makes it a trial" if request.limit is not None else ""))
            continue
        record_scores(db, request.model, task, result, rows_of_run, time.perf_counter() - start)
        tell(f"{task}: recorded as run {rows_of_run.run.run_id} in {db}")
    return rows
