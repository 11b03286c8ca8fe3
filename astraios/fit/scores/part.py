"""Scores of one metric beside the losses of an analysis: predicted from them, kept as one fit."""

from __future__ import annotations

import hashlib
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
from astraios.fit.scores.routes import Routes, ThroughLoss
from astraios.records.fitted import Fitted, FittedPoint, ParameterValue, Projection

if TYPE_CHECKING:
    from astraios.fit.request import FitRequest

SAME = 0.02
"""Amounts of data are one where their logs differ by no more."""
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
    routes: Routes
    data: ScoreData
    hidden: ScoreData
    """Scores that were hidden from the model; empty in the role target."""
    data_hash: str
    """Of the losses that it goes with."""

    @property
    def model(self) -> ScoreModel | None:
        """The link of the weightiest way through a loss; None where there is no such way."""
        ways = [(w, way) for w, way in zip(self.routes.weights, self.routes.ways, strict=True)]
        models = [(w, way.model) for w, way in ways if isinstance(way, ThroughLoss)]
        return max(models, key=lambda one: one[0])[1] if models else None

    def project(
        self, drawn: tuple[Array, Array], g: int, name: str, size: float, tokens: float | None, level: float, *,
        observed: float | None = None, carried: float | None = None,
    ) -> Projection | None:  # fmt: skip
        """The score of one series from draws of all (series, draws); None where no way knows it."""
        data = self.data
        if not np.isfinite(drawn[0][g]).all():
            return None
        mean, low, high, new_low, new_high = map(float, ends(drawn[0][g], drawn[1][g], level))
        return Projection(
            self.fit_id, self.role, "score", name, data.task_id, data.metric, size, tokens, mean, low, high, new_low,
            new_high, level, observed, carried, None, len(data),
        )  # fmt: skip

    def project_hidden(
        self, drawn: tuple[Array, Array], g: int, name: str, log_size: float, tokens: float | None, level: float
    ) -> Projection | None:
        """The same at a hidden size, beside what was observed there; None where no score of the series was."""
        hidden, data = self.hidden, self.data
        here = (np.array(hidden.group) == name) & np.isclose(hidden.log_size, log_size)
        if tokens is not None and hidden.log_tokens is not None and np.isfinite(hidden.log_tokens).all():
            here &= np.isclose(hidden.log_tokens, np.log(tokens), atol=SAME)
        if not here.any():
            return None
        mine = np.array(data.group) == name
        top = mine & (data.log_size == data.log_size[mine].max(initial=-np.inf))
        return self.project(
            drawn, g, name, float(np.round(np.exp(log_size))), tokens, level,
            observed=float(hidden.value[here].mean()), carried=float(data.value[top].mean()) if top.any() else None,
        )  # fmt: skip

    def seed(self) -> int:
        """What tells its draws from those of other metrics."""
        return int(hashlib.sha256(f"{self.data.task_id} {self.data.metric}".encode()).hexdigest()[:8], 16)

    def warnings(self) -> list[FitWarning]:
        """What a reader of these scores should know."""
        data, model, notes = self.data, self.model, list(self.routes.notes)
        if model is not None and not model.follows:
            words = f"{data.task_id}: {data.metric} does not go with the loss here"
            notes.append(FitWarning("not_predictable", words, data.task_id))
        if data.higher_is_better and is_guessed(data):
            notes.append(guessed(data))
        margin = data.chance + 2 * float(np.median(data.stderr))
        if data.higher_is_better and data.chance > 0 and float(np.median(data.value)) < margin:
            words = f"{data.task_id}: most scores are within two errors of chance"
            notes.append(FitWarning("near_chance", words, data.task_id))
        return notes

    def fitted(self, request: FitRequest, sql: str | None, warnings: Sequence[FitWarning]) -> Fitted:
        """The fit as it is kept."""
        data, model = self.data, self.model
        return Fitted(
            fit_id=self.fit_id, role=self.role, quantity="score", task_id=data.task_id, metric=data.metric,
            law=request.link, estimator="binomial", settings=asdict(request),
            objective=model.best.objective if model else float("nan"), n_points=len(data), data_hash=self.data_hash,
            data_sql=sql, certificate={"routes": self.routes.to_dict(), **(_certificate(model) if model else {})},
            warnings=[w.to_dict() for w in warnings if w.group == data.task_id],
            parameters=_parameters(model) if model else {},
            points=[_point(model, i) for i in range(len(model.data))] if model else [],
        )  # fmt: skip


def _certificate(model: ScoreModel) -> dict[str, Any]:
    best = model.best
    return {
        "weights": model.by_link, "members": rolled(model.members, model.weights, model.errors),
        "centre": best.centre, "scale": best.scale, "dispersion": best.dispersion, "form": model.form,
        "shift": model.shifts.mean, "between": model.shifts.between, "best": best.link.name, "chance": best.chance,
    }  # fmt: skip


def _parameters(model: ScoreModel) -> dict[str, ParameterValue]:
    best = model.best
    half, (low, high) = NORMAL_90 * np.sqrt(np.diagonal(best.covariance)), best.link.bounds()
    return {
        p.name: ParameterValue(
            float(v), float(v - half[k]), float(v + half[k]), at_bound=bool(v <= low[k] or v >= high[k])
        )
        for k, (p, v) in enumerate(zip(best.link.parameters, best.theta, strict=True))
    }


def _point(model: ScoreModel, i: int) -> FittedPoint:
    data = model.data
    return FittedPoint(
        data.run_id[i], float(np.round(np.exp(data.log_size[i]), 3)), None, float(data.value[i]),
        float(model.point(data.loss[i : i + 1], data.group[i])[0]),
        float(1 / (data.stderr[i] ** 2 + model.best.dispersion**2)),
    )  # fmt: skip
