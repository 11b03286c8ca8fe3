"""The tasks of a sweep before anything is run: their gold data, their samples, and what generating them will take."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astraios.collect.plan.cell_plan import Plan
from astraios.errors import DataError
from astraios.evaluate.options import EvaluateOptions
from astraios.evaluate.tasks import Task, find_asked

if TYPE_CHECKING:
    from astraios.collect.plan.sweep import Sweep
    from astraios.evaluate.tasks._gold import GoldState

ROWS = 64
"""Answers that an H100 is taken to generate at once, on average over a task."""
STEP_SECONDS, STEP_SECONDS_PER_PARAMETER = 0.015, 4e-12
"""What a token of each of them is taken to take: 20 ms at 1B, 77 ms at 16B over an 8-bit base. A reckoning, good to a
factor of three, that nobody has measured."""
ASSUMED = (
    f"assumed for one H100, {ROWS} answers at once and {1000 * STEP_SECONDS:.0f} ms and "
    f"{1e12 * STEP_SECONDS_PER_PARAMETER:.0f} ps a parameter a token; no GPU was measured here, it may be a third or "
    "three times as much"
)


@dataclass(frozen=True)
class Rate:
    """Seconds that one sample of a task was measured to take, all stages and execution included, on a base of so many
    parameters."""

    n_params: int
    seconds: float


Rates = Mapping[tuple[str, int], Sequence[Rate]]
"""By task and demonstrations."""


@dataclass(frozen=True)
class TaskPlan:
    """A task as a sweep asks for it."""

    name: str
    """Its entry of `tasks`."""
    task_id: str
    n_shot: int
    gold: tuple[GoldState, ...]
    n_problems: int | None
    """None where it is not known before the task is run."""
    n_samples: int | None
    """Texts that are generated for each cell, all stages together; None likewise, or where none are."""
    n_stages: int
    n_tokens: float | None
    """Tokens of them, by the length of a typical answer."""

    @property
    def state(self) -> str:
        """present, on the hub, or missing, as the file that is worst off; none needed, where there is no file."""
        order = ("present", "on the hub", "missing")
        return max((one.state for one in self.gold), key=order.index, default="none needed")

    @property
    def where(self) -> str:
        """Where the gold data are, or the way to get what is missing."""
        return "; ".join(one.where for one in self.gold if one.state == self.state)

    def hours(self, plan: Plan, rates: Rates) -> float | None:
        """Device-hours of one cell: as measured on the nearest size, else assumed for a GPU; None for a CPU of which
        nothing was measured."""
        n_params = plan.count.n_params
        if not self.n_samples or plan.problem:
            return None
        known = rates.get((self.task_id, self.n_shot))
        on_gpu = plan.device == "cuda"
        if known:
            near = min(known, key=lambda rate: abs(math.log(rate.n_params / n_params)))
            grows = _step(n_params) / _step(near.n_params) if on_gpu else n_params / near.n_params
            return self.n_samples / self.n_stages * near.seconds * grows / 3600
        return (self.n_tokens or 0) * _step(n_params) / ROWS / 3600 if on_gpu else None


def _step(n_params: int) -> float:
    return STEP_SECONDS + STEP_SECONDS_PER_PARAMETER * n_params


def task_plans(sweep: Sweep) -> list[TaskPlan]:
    """The tasks of a sweep, in its order; nothing is fetched.

    Raises:
        DataError: a folder of gold data is not there.
    """
    return [_task_plan(sweep, name) for name in sweep.tasks]


def _task_plan(sweep: Sweep, name: str) -> TaskPlan:
    task, options = asked(sweep, name)
    gold = tuple(one.state(options) for one in task.gold_files(options))
    n_problems = task.n_problems and min(task.n_problems, options.limit or task.n_problems)
    decoding = task.decoding()
    each = (options.n_samples or decoding.n_samples) * task.n_stages
    n_samples = n_problems * each if n_problems and task.from_generations else None
    n_tokens = n_samples * decoding.answer_tokens if n_samples else None
    return TaskPlan(name, task.name, task.n_shot(options), gold, n_problems, n_samples, task.n_stages, n_tokens)


def asked(sweep: Sweep, name: str) -> tuple[Task, EvaluateOptions]:
    """The task of an entry of a sweep's `tasks`, and its options."""
    task, said = find_asked(name)
    return task, task.read_options(EvaluateOptions, {**sweep.task_table(name), **said}, f"[task.{name}] ")


def lacking(sweep: Sweep) -> dict[str, str]:
    """Tasks whose gold data can't be had, with the way to get them; what is on the hub is fetched now."""
    found = {}
    for name in sweep.tasks:
        task, options = asked(sweep, name)
        try:
            for gold in task.gold_files(options):
                gold.fetch(options)
        except DataError as error:
            found[name] = str(error)
    return found


def without(plans: Sequence[Plan], names: Mapping[str, str]) -> list[Plan]:
    """Plans whose cells are not scored on these tasks, so that what can be scored is."""
    if not names:
        return list(plans)
    return [
        dataclasses.replace(
            p, cell=dataclasses.replace(p.cell, tasks=tuple(name for name in p.cell.tasks if name not in names))
        )
        for p in plans
    ]
