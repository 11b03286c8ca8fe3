"""What a fit found, as plain values: `fit` works it out, `store` keeps it, `report` and scripts read it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BEST_DRAW = -1
"""Number of the draw that holds each law's best estimate."""


def fingerprint(rows: Iterable[Sequence[Any]]) -> str:
    """SHA-256 over rows, whatever their order: tells whether a query still gives what a fit was made of."""
    lines = sorted(json.dumps([str(value) for value in row]) for row in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class ParameterValue:
    """One estimated parameter, in natural units."""

    value: float
    low: float
    high: float
    at_bound: bool


@dataclass(frozen=True)
class FittedPoint:
    """One observation beside what the fit says about it."""

    run_id: str | None
    n_params: float
    n_tokens: float | None
    observed: float
    fitted: float
    weight: float
    """0 where the point was hidden."""
    held_out: bool = False


@dataclass(frozen=True)
class DrawnColumn:
    """Values of one quantity of one law over successive draws."""

    law: str
    name: str
    first: int
    """Number of the first draw; BEST_DRAW for the best estimate."""
    values: NDArray[np.float64]
    """One a draw, in natural units."""


@dataclass(frozen=True)
class CurvePoint:
    """The projected loss at one size (and amount of data) of a series, with its intervals."""

    n_params: float
    mean: float
    low: float
    high: float
    new_low: float
    new_high: float
    level: float
    n_tokens: float | None = None
    p_best: float | None = None


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """One fit as it is kept: of one series' losses, or of one metric of one task."""

    fit_id: str
    role: str
    """target (all data) or backtest (the smaller sizes)."""
    quantity: str
    """loss or score."""
    method_id: str | None = None
    task_id: str | None = None
    metric: str | None = None
    law: str
    """Name of the law or link, or auto for an average of several."""
    estimator: str
    settings: Mapping[str, Any]
    """What was asked, by the name of the option: those that the database has a column for are stored there."""
    objective: float
    n_points: int
    data_hash: str
    data_sql: str | None
    certificate: Mapping[str, Any]
    warnings: Sequence[Mapping[str, Any]]
    parameters: Mapping[str, ParameterValue]
    points: Sequence[FittedPoint]
    draws: Sequence[DrawnColumn] = ()
    curve: Sequence[CurvePoint] = ()
    """The projection over size, from the smallest run to the largest target; empty where there is none."""


@dataclass(frozen=True)
class Projection:
    """One projected loss (nats) or score (a fraction), and what was observed there, if anything was."""

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
    def series(self) -> str:
        """What is compared: the tuning method, and what else tells series apart."""
        return self.method_id

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
            "fit_id role quantity series task_id metric n_params n_tokens mean low high new_low new_high level observed"
            " relative_error"
        )
        row = {name: getattr(self, name) for name in names.split()}
        if self.role == "backtest":
            row |= {"carry_forward": self.carry_forward, "carry_forward_error": self.carry_forward_error}
        return row


def _relative(value: float, observed: float | None) -> float | None:
    return None if not observed else abs(value - observed) / abs(observed)
