"""Tasks that are scored from texts: with a model in memory they are generated, executed and scored."""

from __future__ import annotations

from dataclasses import dataclass

from astraios.evaluate.tasks import Task, TunedModel
from astraios.records import TaskResult


@dataclass(frozen=True, kw_only=True)
class GeneratedTask(Task):
    """Subclasses give prompts and a way to score what was answered."""

    def evaluate(self, model: TunedModel) -> TaskResult:
        """Generates, executes and scores (`evaluate.generate`).

        Raises:
            CellError: the task does not fit the model.
        """
        from astraios.evaluate.generate import evaluate

        return evaluate(self, model)
