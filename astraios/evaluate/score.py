"""Scores generations that somebody made: the function behind `astraios score`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astraios.errors import DataError, UsageError
from astraios.evaluate.tasks import TASKS, Scoring
from astraios.records import TaskResult

if TYPE_CHECKING:
    from astraios.evaluate.execute.engine import Engine

METHODS = ("fft", "lora", "ptuning", "ia3", "adapterh", "adapterp", "parallel", "prompt", "adalora")
SIZES = {
    "1b": "bigcode/starcoderbase-1b",
    "3b": "bigcode/starcoderbase-3b",
    "7b": "bigcode/starcoderbase-7b",
    "15b": "bigcode/starcoderbase",
    "16b": "bigcode/starcoderbase",
}
"""How released files name the four base models; the largest is called 15b there and 16B in the paper."""


@dataclass(frozen=True)
class Source:
    """Whose generations they are."""

    model_id: str | None
    method_id: str | None


def identify(path: Path, model: str | None = None, method: str | None = None) -> Source:
    """Model and method as given, else read from the file's name ("kind__1b__lora", "...-starcoderbase-3b-fft")."""
    words = re.split(r"[^a-z0-9]+", path.name.lower())
    size = next((SIZES[word] for word in words if word in SIZES), None)
    if size is None and "starcoderbase" in words:
        size = SIZES["15b"]
    return Source(model or size, method or next((word for word in words if word in METHODS), None))


def shots(path: Path) -> int:
    """Demonstrations in the prompts, as the file's name tells ("defect_1shot__..."): 1 or 0."""
    return int(bool(re.search(r"(1|one)[-_]?shot|ablation", path.name.lower())))


def score_generations(
    path: Path | str,
    task: str,
    data_dir: Path | str | None,
    *,
    language_level: int | None = None,
    nominal: float | None = None,
    n_shot: int | None = None,
    extraction: str | None = None,
    sarif: Path | str | None = None,
    cache: Path | str | None = None,
    workers: int | None = None,
    isolation: str = "auto",
    allow_weak: bool = False,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TaskResult:
    """Score the generations in `path` on `task`.

    Args:
        path: the harness's JSON, JSON lines (a problem or a sample a line) or Parquet; gzipped or not.
        task: name of a task.
        data_dir: folder of gold data; None is the hub.
        language_level: Java language level (8 compares with the paper); None is the JDK's own.
        nominal: greedy HumanEval pass@1 of the same model, a fraction, for ReCode's Robust Change.
        n_shot: demonstrations in the prompts; None reads it from the file's name.
        extraction: rule that makes source files of security completions.
        sarif: findings of an analyser that ran elsewhere (SARIF 2.1.0).
        cache: file of verdicts, so that an interrupted evaluation goes on where it stood.
        workers: jailed processes; None is one a core.
        isolation: level, "auto" for the strongest.
        allow_weak: permits the weak level.
        engine: a running engine to use instead of an own one.
        progress: called with programs done and in all.

    Raises:
        UsageError: unknown task or an option that makes no sense for it.
        DataError: the file or the gold data are not what the task needs.
        AstraiosError: no sandbox or no JDK on this machine.
    """
    path = Path(path)
    chosen = TASKS.get(task)
    if not chosen.from_generations:
        raise UsageError(f"task {task!r} is not scored from generations: it needs the model itself")
    if not path.is_file():
        raise DataError(f"{path}: no such file of generations")
    own: list[Engine] = []

    def running() -> Engine:
        if engine is not None:
            return engine
        if not own:
            from astraios.evaluate.execute.engine import Engine as Fresh

            own.append(Fresh(workers, isolation, allow_weak, Path(cache) if cache else None))
        return own[0]

    scoring = Scoring(
        data_dir=Path(data_dir) if data_dir is not None else None,
        engine=running,
        language_level=language_level,
        nominal=nominal,
        n_shot=shots(path) if n_shot is None else n_shot,
        extraction=extraction,
        sarif=Path(sarif) if sarif else None,
        progress=progress,
    )
    try:
        return chosen.score(path, scoring)
    finally:
        for each in own:
            each.close()
