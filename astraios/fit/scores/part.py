"""Scores of one metric beside the losses of an analysis: predicted from them, kept as one fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.notes import FitWarning
from astraios.fit.scores.chance import guessed, is_guessed
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.from_loss import ScoreModel
from astraios.fit.scores.rolling import rolled
from astraios.records.fitted import Fitted, FittedPoint, ParameterValue, Projection

if TYPE_CHECKING:
    from astraios.fit.request import FitRequest

NORMAL_90 = 1.645
"""Half the width of a normal 90 % interval, in standard errors."""


def ends(draws: Array, new: Array, level: float) -> Array:
    """The middle of the draws of a mean, its interval, and that of a new run, which is never narrower: (5, ...).

    Args:
        draws, new: (..., draws).
        level: nominal coverage.
    """
    tail = [(1 - level) / 2, (1 + level) / 2]
    middle, (low, high), (new_low, new_high) = np.median(draws, -1), *(np.quantile(d, tail, -1) for d in (draws, new))
    return np.stack([middle, low, high, np.minimum(new_low, low), np.maximum(new_high, high)])


@dataclass(frozen=True)
class ScorePart:
    """One metric of one task in one role."""

    fit_id: str
    role: str
    model: ScoreModel
    hidden: ScoreData
    """Scores that were hidden from the model; empty in the role target."""
    data_hash: str
    """Of the losses that it goes with."""

    def project(
        self, rng: np.random.Generator, losses: Array, name: str, size: float, tokens: float | None, level: float, *,
        observed: float | None = None, carried: float | None = None,
    ) -> Projection:  # fmt: skip
        """The score of one series where its loss is projected, with draws `losses` (draws,)."""
        data = self.model.data
        mean, low, high, new_low, new_high = map(float, ends(*self.model.draw(rng, losses, name), level))
        return Projection(
            self.fit_id, self.role, "score", name, data.task_id, data.metric, size, tokens, mean, low, high, new_low,
            new_high, level, observed, carried, None, len(data),
        )  # fmt: skip

    def project_hidden(
        self, rng: np.random.Generator, losses: Array, name: str, log_size: float, tokens: float | None, level: float,
    ) -> Projection | None:  # fmt: skip
        """The same at a hidden size, beside what was observed there; None where no score of the series was."""
        hidden, data = self.hidden, self.model.data
        here = (np.array(hidden.group) == name) & np.isclose(hidden.log_size, log_size)
        if not here.any():
            return None
        mine = np.array(data.group) == name
        top = mine & (data.log_size == data.log_size[mine].max(initial=-np.inf))
        return self.project(
            rng, losses, name, float(np.round(np.exp(log_size))), tokens, level,
            observed=float(hidden.value[here].mean()), carried=float(data.value[top].mean()) if top.any() else None,
        )  # fmt: skip

    def warnings(self) -> list[FitWarning]:
        """What a reader of these scores should know."""
        data, notes = self.model.data, []
        if not self.model.follows:
            notes.append(
                FitWarning(
                    "not_predictable", f"{data.task_id}: {data.metric} does not go with the loss here", data.task_id
                )
            )
        if is_guessed(self.model.shares):
            notes.append(guessed(data))
        margin = data.chance + 2 * float(np.median(data.stderr))
        if data.higher_is_better and data.chance > 0 and float(np.median(data.value)) < margin:
            words = f"{data.task_id}: most scores are within two errors of chance"
            notes.append(FitWarning("near_chance", words, data.task_id))
        return notes

    def fitted(self, request: FitRequest, sql: str | None, warnings: Sequence[FitWarning]) -> Fitted:
        """The fit as it is kept."""
        best, data = self.model.best, self.model.data
        return Fitted(
            fit_id=self.fit_id, role=self.role, quantity="score", task_id=data.task_id, metric=data.metric,
            law=request.link, estimator="binomial", settings=asdict(request), objective=best.objective,
            n_points=len(data), data_hash=self.data_hash, data_sql=sql, certificate=self._certificate(),
            warnings=[w.to_dict() for w in warnings if w.group == data.task_id], parameters=self._parameters(),
            points=[self._point(i) for i in range(len(data))],
        )  # fmt: skip

    def _certificate(self) -> dict[str, Any]:
        model, best = self.model, self.model.best
        return {
            "weights": model.by_link, "members": rolled(model.members, model.weights, model.errors),
            "centre": best.centre, "scale": best.scale, "dispersion": best.dispersion, "form": model.form,
            "shift": model.shifts.mean, "between": model.shifts.between, "best": best.link.name, "chance": best.chance,
        }  # fmt: skip

    def _parameters(self) -> dict[str, ParameterValue]:
        best = self.model.best
        half, (low, high) = NORMAL_90 * np.sqrt(np.diagonal(best.covariance)), best.link.bounds()
        return {
            p.name: ParameterValue(
                float(v), float(v - half[k]), float(v + half[k]), at_bound=bool(v <= low[k] or v >= high[k])
            )
            for k, (p, v) in enumerate(zip(best.link.parameters, best.theta, strict=True))
        }

    def _point(self, i: int) -> FittedPoint:
        data = self.model.data
        return FittedPoint(
            data.run_id[i], float(np.round(np.exp(data.log_size[i]), 3)), None, float(data.value[i]),
            float(self.model.point(data.loss[i : i + 1], data.group[i])[0]),
            float(1 / (data.stderr[i] ** 2 + self.model.best.dispersion**2)),
        )  # fmt: skip
