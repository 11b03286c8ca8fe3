"""One projected value beside what was observed, and the part of an analysis that it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from astraios.fit.ensemble import Draws, Ensemble
from astraios.fit.observations import Ladder
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.from_loss import ScoreModel


@dataclass(frozen=True)
class Projection:
    """One projected loss or score, and what was observed there, if anything was."""

    fit_id: str
    role: str
    quantity: str
    method_id: str
    task_id: str | None
    metric: str | None
    n_params: float
    n_tokens: float | None
    mean: float
    low: float
    high: float
    new_low: float
    new_high: float
    level: float
    observed: float | None = None
    carry_forward: float | None = None
    p_best: float | None = None
    n_train_points: int = 0

    @property
    def relative_error(self) -> float | None:
        """|mean - observed| / |observed|."""
        return _relative(self.mean, self.observed)

    @property
    def carry_forward_error(self) -> float | None:
        """The same for the value at the largest size that was not hidden."""
        return None if self.carry_forward is None else _relative(self.carry_forward, self.observed)

    @property
    def covered(self) -> bool | None:
        """Whether the interval of a new run holds the observation."""
        return None if self.observed is None else self.new_low <= self.observed <= self.new_high

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        names = (
            "fit_id role quantity task_id metric n_params n_tokens mean low high new_low new_high level observed"
            " relative_error"
        )
        row = {name: getattr(self, name) for name in names.split()}
        if self.role == "backtest":
            row |= {"carry_forward": self.carry_forward, "carry_forward_error": self.carry_forward_error}
        return row


def _relative(value: float, observed: float | None) -> float | None:
    return None if not observed else abs(value - observed) / abs(observed)


@dataclass(frozen=True)
class Part:
    """One role of the analysis: all data for targets, or the smaller sizes for the backtest."""

    role: str
    ensemble: Ensemble
    ids: dict[str, str]
    """fit_id of each method's loss fit."""
    scores: tuple[ScoreModel, ...]
    score_ids: tuple[str, ...]
    hidden: Ladder | None = None
    hidden_scores: tuple[ScoreData, ...] = ()
    draws: dict[float, Draws] = field(default_factory=dict)
