"""Scores generations that somebody made: the function behind `astraios score`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError
from astraios.evaluate.options import ScoreOptions
from astraios.evaluate.tasks import TASKS, Scoring, Task, options_of
from astraios.models.ladders import LADDERS
from astraios.models.methods import METHODS
from astraios.records import TaskResult

if TYPE_CHECKING:
    from astraios.evaluate.execute.engine import Engine

RELEASED = "starcoderbase"
"""Ladder whose sizes the names of released files tell."""


@dataclass(frozen=True)
class Source:
    """Whose generations they are."""

    model_id: str | None
    method_id: str | None


def identify(path: Path, model: str | None = None, method: str | None = None) -> Source:
    """Model and method as given, else read from the file's name ("kind__1b__lora", "...-starcoderbase-3b-fft")."""
    words = re.split(r"[^a-z0-9]+", path.name.lower())
    ladder = LADDERS.get(RELEASED)
    rungs = {name.lower(): rung.model_id for rung in ladder.rungs() for name in (rung.name, *rung.aliases)}
    base = next((rungs[word] for word in words if word in rungs), None)
    if base is None and ladder.name in words:
        base = ladder.rungs()[-1].model_id
    return Source(model or base, method or next((word for word in words if word in METHODS), None))


def shots(path: Path) -> int:
    """Demonstrations in the prompts, as the file's name tells ("defect_1shot__..."): 1 or 0."""
    return int(bool(re.search(r"(1|one)[-_]?shot|ablation", path.name.lower())))


def score_generations(
    path: Path | str,
    task: str,
    options: ScoreOptions | None = None,
    *,
    cache: Path | str | None = None,
    engine: Engine | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TaskResult:
    """Score the generations in `path` on `task`.

    Args:
        path: the harness's JSON, JSON lines (a problem or a sample a line) or Parquet; gzipped or not.
        task: name of a task.
        options: as `score_options` makes them; None is the defaults, with gold data from the hub.
        cache: file of verdicts, so that an interrupted evaluation goes on where it stood.
        engine: a running engine to use instead of an own one.
        progress: called with programs done and in all.

    Raises:
        UsageError: unknown task, or options of another.
        DataError: the file or the gold data are not what the task needs.
        AstraiosError: no sandbox or no JDK on this machine.
    """
    path = Path(path)
    chosen = TASKS.get(task)
    if not chosen.from_generations:
        raise UsageError(f"task {task!r} is not scored from generations: it needs the model itself")
    if not path.is_file():
        raise DataError(f"{path}: no such file of generations")
    options = _with_shots(options or score_options(task), chosen, path)
    own: list[Engine] = []

    def running() -> Engine:
        if engine is not None:
            return engine
        if not own:
            from astraios.evaluate.execute.engine import Engine as Fresh

            own.append(Fresh(options.workers, options.isolation, Path(cache) if cache else None))
        return own[0]

    scoring = Scoring(options=options, engine=running, progress=progress)
    try:
        return chosen.score(path, scoring)
    finally:
        for each in own:
            each.close()


def score_options(task: str, **values: Any) -> ScoreOptions:
    """Options of a task by name: those that all tasks take (`ScoreOptions`), and its own.

    >>> score_options("humanevalfix-java", data_dir="gold", language_level=8).own
    JavaOptions(language_level=8)

    Raises:
        UsageError: unknown task or option, or a value of the wrong type or out of range.
    """
    return options_of([task], ScoreOptions, values)[task]


def _with_shots(options: ScoreOptions, task: Task, path: Path) -> ScoreOptions:
    """Demonstrations as the file's name tells, where the options leave them open."""
    own: Any = options.of(task.own_options)
    if getattr(own, "n_shot", 0) is None:
        own = replace(own, n_shot=shots(path))
    return replace(options, own=own)
