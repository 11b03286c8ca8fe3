"""The whole analysis behind `astraios fit-scaling`: project losses and scores, check them on hidden sizes, rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from astraios.errors import DataError
from astraios.fit import checks, losses
from astraios.fit.checks import FAR
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import Ensemble
from astraios.fit.losses import LossPart, read_losses
from astraios.fit.notes import FitWarning
from astraios.fit.observations import read, require_sizes
from astraios.fit.request import FitRequest
from astraios.fit.scores import sized
from astraios.fit.scores.data import read_scores
from astraios.fit.selection import Selection
from astraios.fit.sizes import hidden_size
from astraios.records.fitted import Fitted, Projection


class Part(Protocol):
    """Fits in one role: of all losses and the scores beside them, or of one metric without losses."""

    @property
    def role(self) -> str:
        """target (all data) or backtest (the smaller sizes)."""

    def fitted(self, request: FitRequest, sql: str | None, warnings: Sequence[FitWarning]) -> list[Fitted]:
        """The fits as they are kept."""

    def documents(
        self, request: FitRequest, warnings: Sequence[FitWarning], projections: Sequence[Projection]
    ) -> list[dict[str, Any]]:
        """The fits as JSON prints them."""


@dataclass(frozen=True)
class Analysis:
    """Everything that `fit-scaling` prints and the database keeps."""

    request: FitRequest
    quantity: str
    """loss, or score where there are no losses."""
    parts: tuple[Part, ...]
    projections: tuple[Projection, ...]
    ranking: tuple[Rank, ...]
    warnings: tuple[FitWarning, ...]
    sql: str | None = None

    @property
    def ensemble(self) -> Ensemble:
        """The laws fitted to the losses of the first part: all of them, unless only the backtest was kept."""
        return next(part.ensemble for part in self.parts if isinstance(part, LossPart))

    def of(self, role: str, quantity: str | None = None) -> list[Projection]:
        """Projections of one role and quantity, by default the one that was analysed."""
        return [p for p in self.projections if p.role == role and p.quantity == (quantity or self.quantity)]

    @property
    def summary(self) -> dict[str, float | int | None]:
        """The backtest: relative and absolute errors, ours and carry-forward's, and the coverage of new runs."""
        rows = self.of("backtest")
        return {
            "n_backtest": len(rows),
            "mean_relative_error": _mean([p.relative_error for p in rows]),
            "mean_carry_forward_error": _mean([p.carry_forward_error for p in rows]),
            "mean_absolute_error": _mean([_gap(p.mean, p.observed) for p in rows]),
            "mean_absolute_carry_forward_error": _mean([_gap(p.carry_forward, p.observed) for p in rows]),
            "coverage": _mean([p.covered for p in rows]),
        }

    def fitted(self) -> list[Fitted]:
        """Its fits as they are kept."""
        return [fit for part in self.parts for fit in part.fitted(self.request, self.sql, self.warnings)]

    def to_json(self) -> dict[str, Any]:
        """The document of `fit-scaling --json`: one object a series (and metric), the ranking, warnings, a summary."""
        targets = [part for part in self.parts if part.role == "target"]
        return {
            "fits": [d for part in targets for d in part.documents(self.request, self.warnings, self.projections)],
            "ranking": [rank.to_dict() for rank in self.ranking],
            "warnings": [w.to_dict() for w in self.warnings],
            "summary": self.summary,
        }


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [float(v) for v in values if v is not None]
    return float(np.mean(kept)) if kept else None


def _gap(value: float | None, observed: float | None) -> float | None:
    return None if value is None or observed is None else abs(value - observed)


def analyse(selection: Selection, request: FitRequest | None = None) -> Analysis:
    """Project each series, check it on hidden sizes, predict scores, rank.

    Without losses, every metric of every task is projected from size alone; then the law of the request names a link.

    Args:
        selection: rows of one study.
        request: what is asked; by default what `astraios fit-scaling` does without options.

    Raises:
        DataError: no rows, a missing column, a value that is not a positive number.
        FitError: too few sizes; nothing to hide, or nothing left.
        UsageError: an unknown law, link or estimator, a level outside (0, 1), a target that is no size.
    """
    request = request or FitRequest()
    request.check()
    if selection.losses is None and selection.scores is None:
        raise DataError("no rows to fit: collect or import some runs first")
    return (_of_scores if selection.losses is None else _of_losses)(selection, request)


def _of_losses(selection: Selection, request: FitRequest) -> Analysis:
    assert selection.losses is not None
    ladder = read_losses(selection.losses)
    require_sizes(ladder, pooled=len(ladder) > 1)
    targets, hidden = selection.targets(request), selection.hidden(request)
    scores = selection.scores
    data = read_scores(scores) if scores is not None and not scores.is_empty() else ()
    target = losses.fit_part("target", ladder, data, request)
    notes = [*checks.of_data(ladder), *checks.of_fit(target.ensemble), *checks.of_target(ladder, targets)]
    if selection.data_counts and not ladder.has("n_tokens"):
        inputs = {"n_params": "n_params", "n_tokens": "n_tokens"}
        notes += checks.of_data_left_out(read(selection.losses, inputs=inputs, group="method_id"))
    projections, ranks = losses.project_targets(target, targets, request)
    parts = [target]
    if hidden is not None:
        backtest = losses.backtest_part(ladder, data, request, float(np.log(hidden)))
        if isinstance(backtest, FitWarning):
            notes.append(backtest)
        else:
            parts.append(backtest)
            projections += losses.project_hidden(backtest, request)
    notes += [note for one in target.scores for note in one.warnings()]
    return Analysis(request, "loss", tuple(parts), tuple(projections), tuple(ranks), tuple(notes), selection.sql)


def _of_scores(selection: Selection, request: FitRequest) -> Analysis:
    assert selection.scores is not None
    sized.check_link(request.law)
    data, notes = sized.usable(read_scores(selection.scores, by_size=True))
    sizes = np.exp(np.unique(np.concatenate([one.log_size for one in data]))).tolist()
    targets = selection.targets(request)
    hidden = hidden_size(request.holdout, sizes, selection.names)
    parts, projections, ranks = [], [], []
    for one in data:
        part = sized.fit_part(one, "target", request)
        parts.append(part)
        found, ranked = sized.project_targets(part, targets, request)
        projections += found
        ranks += ranked
    if hidden is not None:
        backtests = [sized.backtest_part(one, float(np.log(hidden)), request) for one in data]
        checked = [part for part in backtests if part is not None]
        parts += checked
        projections += [row for part in checked for row in sized.project_hidden(part, request)]
        if not checked:
            notes.append(FitWarning("no_backtest", "too few sizes to hide the largest: the projection is unchecked"))
    notes += [
        FitWarning("far_extrapolation", f"{size:.4g} is over {FAR:g} times the largest size seen")
        for size in targets
        if size > FAR * sizes[-1]
    ]
    return Analysis(request, "score", tuple(parts), tuple(projections), tuple(ranks), tuple(notes), selection.sql)
