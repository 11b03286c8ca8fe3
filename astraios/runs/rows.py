"""What a run directory says of its run: rows of the database, as its manifest holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from astraios.records import (
    AttemptRow,
    BaseModelRow,
    DatasetRow,
    EnvironmentRow,
    EvaluationRow,
    RunRow,
    TaskRow,
    TuningMethodRow,
    from_values,
    values,
)

R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Ending(AttemptRow):
    """How an attempt ended; the run directory keeps more of it than the database."""

    tuning_seconds: float | None = None
    setup_seconds: float | None = None
    """Until tuning began, and between its end and that of the attempt, tasks left out."""


@dataclass(kw_only=True)
class RunRows:
    """The rows of a manifest, filled in as they become known, so that a failure records what was."""

    sweep_json: str = ""
    """The sweep that asked; empty for a run that somebody else started."""
    run: RunRow
    base_model: BaseModelRow
    tuning_method: TuningMethodRow
    environment: EnvironmentRow | None = None
    dataset: DatasetRow | None = None
    tasks: Sequence[TaskRow] | None = None
    evaluations: Sequence[EvaluationRow] | None = None
    attempts: Sequence[AttemptRow] = ()
    """Those that a manifest names; whoever writes one takes them from the directory's own list."""

    def to_json(self) -> dict[str, Any]:
        """As a manifest has them, attempts left out."""
        described = {
            "run": self.run,
            "base_model": self.base_model,
            "tuning_method": self.tuning_method,
            "environment": self.environment,
            "dataset": self.dataset,
        }
        listed: dict[str, Sequence[Any] | None] = {"tasks": self.tasks, "evaluations": self.evaluations}
        return {
            **({"sweep_json": self.sweep_json} if self.sweep_json else {}),
            **{name: values(row) for name, row in described.items() if row is not None},
            **{name: [values(row) for row in rows] for name, rows in listed.items() if rows is not None},
        }

    @classmethod
    def from_json(cls, rows: Mapping[str, Any]) -> RunRows:
        """What a manifest has under `rows`; what no table has a column for is passed over.

        Raises:
            KeyError: a row that a manifest must have is missing.
            ValueError: a row lacks a column that the database insists on.
        """

        def listed(kind: type[R], name: str) -> list[R]:
            return [from_values(kind, row) for row in rows.get(name, ())]

        return cls(
            sweep_json=rows.get("sweep_json", ""),
            run=from_values(RunRow, rows["run"]),
            base_model=from_values(BaseModelRow, rows["base_model"]),
            tuning_method=from_values(TuningMethodRow, rows["tuning_method"]),
            environment=from_values(EnvironmentRow, rows["environment"]) if "environment" in rows else None,
            dataset=from_values(DatasetRow, rows["dataset"]) if "dataset" in rows else None,
            tasks=listed(TaskRow, "tasks"),
            evaluations=listed(EvaluationRow, "evaluations"),
            attempts=listed(AttemptRow, "attempts"),
        )
