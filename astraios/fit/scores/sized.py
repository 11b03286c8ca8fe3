"""Scores without losses: projected from size alone, checked on hidden sizes, ranked by their mean."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import FitError, UsageError, did_you_mean
from astraios.fit.decide import ranking
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import DRAWS
from astraios.fit.links import LINKS
from astraios.fit.notes import FitWarning
from astraios.fit.scores import by_size, routes
from astraios.fit.scores.chance import guessed, is_guessed
from astraios.fit.scores.data import MEAN_TASK, ScoreData
from astraios.fit.scores.part import NORMAL_90, ends
from astraios.fit.scores.rolling import rolled
from astraios.fit.scores.routes import SIZE, At, Routes, Straight
from astraios.records.fitted import Fitted, FittedPoint, ParameterValue, Projection

if TYPE_CHECKING:
    from astraios.fit.request import FitRequest


@dataclass(frozen=True)
class SizedPart:
    """One metric of one task in one role. The law of the request names its link."""

    fit_id: str
    role: str
    model: by_size.SizeModel
    """Straight from size."""
    routes: Routes
    """That way, and those through losses of the task's own."""
    hidden: ScoreData | None = None

    def fitted(self, request: FitRequest, sql: str | None, warnings: Sequence[FitWarning]) -> list[Fitted]:
        """The fit as it is kept, with what the methods share as its parameters."""
        data, best = self.model.data, self.model.best
        return [
            Fitted(
                fit_id=self.fit_id, role=self.role, quantity="score", task_id=data.task_id, metric=data.metric,
                law=request.law, estimator="binomial",
                settings={**asdict(request), "split": None, "loss_definition": None},
                objective=best.objective, n_points=len(data),
                data_hash=hashlib.sha256(data.log_size.tobytes() + data.value.tobytes()).hexdigest(), data_sql=sql,
                certificate=self._certificate(), warnings=(), parameters=self._shared(),
                points=[*self._points(data, held_out=False), *self._points(self.hidden, held_out=True)],
            )
        ]  # fmt: skip

    def documents(
        self, request: FitRequest, warnings: Sequence[FitWarning], projections: Sequence[Projection]
    ) -> list[dict[str, Any]]:
        """One object a method, as JSON prints it."""
        data, best = self.model.data, self.model.best
        return [
            {
                "fit_id": self.fit_id, "group": method, "task_id": data.task_id, "metric": data.metric,
                "law": request.law, "best_law": best.link.name,
                "parameters": {name: asdict(value) for name, value in self._own(method).items()},
                "objective": best.objective, "warnings": [],
                "projections": [
                    p.to_dict() for p in projections
                    if (p.method_id, p.task_id, p.metric) == (method, data.task_id, data.metric)
                ],
            }
            for method in self.model.names
        ]  # fmt: skip

    def _certificate(self) -> dict[str, Any]:
        model, best = self.model, self.model.best
        return {
            "weights": model.by_link, "members": rolled(model.members, model.weights, model.errors),
            "chance": best.chance, "routes": self.routes.to_dict(),
            "best": best.link.name, "centre": best.centre, "scale": best.scale, "noise_factor": best.noise,
            "form_common": model.common, "form_own": model.own,
        }  # fmt: skip

    def _shared(self) -> dict[str, ParameterValue]:
        """The best link's parameters that all methods are drawn to, in units of the standardised log size."""
        best = self.model.best
        half = NORMAL_90 * np.sqrt(np.diagonal(best.shared_covariance))
        values = zip(best.link.parameters, map(float, best.shared), map(float, half), strict=True)
        return {p.name: ParameterValue(v, v - h, v + h, at_bound=False) for p, v, h in values}

    def _own(self, method: str) -> dict[str, ParameterValue]:
        """The same of one method."""
        fit, g = self.model.best, self.model.names.index(method)
        low, high = fit.link.bounds()
        spread = fit.covariance[g] + fit.drag[g] @ fit.shared_covariance @ fit.drag[g].T
        half, theta = NORMAL_90 * np.sqrt(np.diagonal(spread)), fit.theta[g]
        return {
            p.name: ParameterValue(
                float(theta[k]), float(theta[k] - half[k]), float(theta[k] + half[k]),
                at_bound=bool(not low[k] < theta[k] < high[k]),
            )
            for k, p in enumerate(fit.link.parameters)
        }  # fmt: skip

    def _points(self, data: ScoreData | None, held_out: bool) -> list[FittedPoint]:
        model = self.model
        return [
            FittedPoint(
                data.run_id[i], float(np.round(np.exp(data.log_size[i]))), None, float(data.value[i]),
                float(model.point(float(data.log_size[i]))[model.names.index(data.group[i])]),
                0.0 if held_out else 1.0, held_out,
            )
            for i in range(len(data))
        ] if data is not None else []  # fmt: skip


def check_link(name: str) -> None:
    """Raises a UsageError unless scores without losses can follow it."""
    if name != "auto" and name not in LINKS:
        raise UsageError(
            f"--law {name}: scores without losses follow a link, not a law: {did_you_mean(name, LINKS.names())}"
        )


def fit_part(
    data: ScoreData, own: Sequence[ScoreData], role: str, request: FitRequest, hidden: ScoreData | None = None
) -> SizedPart:
    """One metric fitted on all that is given.

    Args:
        data: one metric of one task.
        own: other metrics of the task that it may go through.
        role: target or backtest.
        request: what is asked.
        hidden: what the backtest hides.
    """
    through = SIZE if request.law != "auto" else request.through
    ways = routes.build(data, None, own, link=request.law, through=through, seed=request.seed)
    straight = [way.model for way in ways.ways if isinstance(way, Straight) and way.name == SIZE]
    model = straight[0] if straight else by_size.build(data, request.law)
    return SizedPart(_id(data, role, request), role, model, ways, hidden)


def usable(found: Sequence[ScoreData]) -> tuple[list[ScoreData], list[FitWarning]]:
    """Metrics with two sizes and three scores; the others are named.

    Raises:
        FitError: there is none.
    """
    data, notes = [], []
    for one in found:
        if len(one) >= 3 and len(np.unique(one.log_size)) > 1:
            data.append(one)
        else:
            notes.append(
                FitWarning("too_few_scores", f"{one.task_id}: {one.metric} has too few sizes to project", one.task_id)
            )
    if not data:
        raise FitError("one size only: scores need two sizes at least to be projected")
    return data, notes


def _id(data: ScoreData, role: str, request: FitRequest) -> str:
    key = [data.task_id, data.metric, data.group, data.run_id, role, request.law, request.level, request.seed]
    key += [] if request.through == "auto" else [request.through]
    digest = hashlib.sha256(json.dumps(key).encode() + data.log_size.tobytes() + data.value.tobytes())
    return hashlib.sha256(digest.digest() + data.stderr.tobytes()).hexdigest()[:16]


def backtest_part(data: ScoreData, own: Sequence[ScoreData], cut: float, request: FitRequest) -> SizedPart | None:
    """The sizes below `cut` (log size) fitted, and what they hide; None where there are too few."""
    train = data.keep(data.log_size < cut - 1e-9)
    hidden = data.keep((data.log_size >= cut - 1e-9) & np.isin(data.group, sorted(set(train.group))))
    if len(train) < 3 or len(np.unique(train.log_size)) < 2 or not len(hidden):
        return None
    return fit_part(train, [one.keep(one.log_size < cut - 1e-9) for one in own], "backtest", request, hidden)


def project_targets(
    part: SizedPart, sizes: Sequence[float], request: FitRequest, *, ranks_alone: bool = False
) -> tuple[list[Projection], list[Rank]]:
    """Every method at every target size; the ranking there for the mean over tasks, or for a task that is alone."""
    model, level = part.model, request.level
    rows: list[Projection] = []
    ranks: list[Rank] = []
    for index, size in enumerate(sizes):
        tokens = request.data_rule.at(size)
        log_tokens = None if tokens is None else float(np.log(tokens))
        mean, draws, around = _at(part, float(np.log(size)), [request.seed, 1, index], level, log_tokens)
        ranked = ranking.rank(
            model.names, size, mean, around[0], around[1], draws, level, "score", better=model.data.higher_is_better
        )
        best = {r.method_id: r.p_best for r in ranked}
        rows += [_row(part, g, size, mean, around, level, p_best=best[name]) for g, name in enumerate(model.names)]
        if ranks_alone or model.data.task_id == MEAN_TASK:
            ranks += ranked
    return rows, ranks


def project_hidden(part: SizedPart, request: FitRequest) -> list[Projection]:
    """Every method at every hidden size, beside what was observed there."""
    assert part.hidden is not None
    model, hidden, rows = part.model, part.hidden, []
    group, known = np.array(hidden.group), np.array(model.data.group)
    for index, log_size in enumerate(np.unique(hidden.log_size)):
        mean, _, around = _at(part, float(log_size), [request.seed, 2, index], request.level)
        for g, name in enumerate(model.names):
            here, mine = (group == name) & (hidden.log_size == log_size), known == name
            if here.any():
                last = mine & (model.data.log_size == model.data.log_size[mine].max())
                observed, carried = float(hidden.value[here].mean()), float(model.data.value[last].mean())
                size = float(np.round(np.exp(log_size)))
                rows.append(_row(part, g, size, mean, around, request.level, observed=observed, carry_forward=carried))
    return rows


def _at(
    part: SizedPart, log_size: float, seed: list[int], level: float, log_tokens: float | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (methods,), draws (methods, draws) and the ends low, high, new_low, new_high (4, methods) at a size."""
    key = int(hashlib.sha256(f"{part.model.data.task_id} {part.model.data.metric}".encode()).hexdigest()[:8], 16)
    at = At(part.model.names, log_size, log_tokens, None, DRAWS)
    draws, new = part.routes.draw(np.random.default_rng([*seed, key]), at)
    found = ends(draws, new, level)
    return found[0], draws, found[1:]


def _row(part: SizedPart, g: int, size: float, mean: Any, around: Any, level: float, **more: float) -> Projection:
    data = part.model.data
    low, high, new_low, new_high = (float(v) for v in around[:, g])
    return Projection(
        part.fit_id, part.role, "score", part.model.names[g], data.task_id, data.metric, size, None, float(mean[g]),
        low, high, new_low, new_high, level, n_train_points=len(data), **more,
    )  # fmt: skip


def warnings(data: ScoreData) -> list[FitWarning]:
    """What a reader of these projections should know."""
    return [guessed(data)] if data.higher_is_better and is_guessed(data) else []
