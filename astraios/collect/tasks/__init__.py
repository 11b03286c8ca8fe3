"""Tasks that tuned models are scored on, one file each. A task is registered by being a module-level `Task`."""

from __future__ import annotations

from dataclasses import dataclass

from astraios.registry import Registry


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a task is; how it is scored is the business of its subclass."""

    name: str
    """Identifier in the database and on the command line, for instance "humanevalfix-java"."""
    title: str
    """Name as printed in charts and tables."""
    kind: str
    """comprehension, generation, robustness, security or likelihood."""
    metric: str
    """The metric that charts and fits use first."""
    chance: float | None
    """Score of guessing, a fraction; None where guessing scores nothing."""
    ceiling: float = 1.0
    higher_is_better: bool = True
    citation: str = ""


TASKS: Registry[Task] = Registry(Task, "astraios.collect.tasks", "task", group="astraios.tasks")
