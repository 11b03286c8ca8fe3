"""The whole analysis behind `astraios fit-scaling`: project losses and scores, check them on hidden sizes, rank."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astraios.errors import DataError
from astraios.fit import checks, losses
from astraios.fit.axes import Axis, Points
from astraios.fit.checks import FAR
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import Ensemble
from astraios.fit.losses import LossPart
from astraios.fit.notes import FitWarning
from astraios.fit.observations import read, require_sizes
from astraios.fit.request import FitRequest
from astraios.fit.scores import routes, sized
from astraios.fit.scores.data import AT, MEAN_TASK, ScoreData, mixed_engines, read_scores
from astraios.fit.selection import Selection
from astraios.fit.sizes import hidden_size
from astraios.fit.targets import Tokens, of_targets, targets
from astraios.records.fitted import CurvePoint, Fitted, FittedPoint, Projection

if TYPE_CHECKING:
    import polars as pl


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
    study: Mapping[str, Any] = field(default_factory=dict)
    """What names the study that was analysed."""
    points: Points | None = None
    """Its runs as points, with the roles of its axes; None for scores."""
    data_rule: str | None = None
    """How much data the targets have, in words."""
    query_hash: str | None = None
    size_name: str = "n_params"
    """What the source calls sizes."""
    tokens: Tokens | None = None
    """What the runs say about amounts of data; None for scores."""

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
        """Its fits as they are kept, with the study and the axes that they used."""
        kept = {
            "study_key": self.study.get("study_key"), "axes": [axis.to_dict() for axis in self.axes],
            "query_hash": self.query_hash,
        }  # fmt: skip
        found = [fit for part in self.parts for fit in part.fitted(self.request, self.sql, self.warnings)]
        curves = self._curves()
        return [
            replace(
                fit, settings={**fit.settings, **kept}, points=[*fit.points, *self._members(fit)],
                curve=curves.get(fit.fit_id, ()),
            )
            for fit in found
        ]  # fmt: skip

    def _curves(self) -> dict[str, Sequence[CurvePoint]]:
        """The projection over size by fit_id, of the losses of all data."""
        largest = max((p.n_params for p in self.of("target", "loss")), default=None)
        parts = [part for part in self.parts if part.role == "target" and isinstance(part, losses.LossPart)]
        if largest is None or not parts:
            return {}
        drawn = losses.curves(parts[0], largest, self.request.level)
        return {parts[0].ids[name]: points for name, points in drawn.items()}

    def _members(self, fit: Fitted) -> list[FittedPoint]:
        """The runs behind tuned points: each counts through its point."""
        if self.points is None or fit.quantity != "loss":
            return []
        places = {(round(p.n_params), p.n_tokens and round(p.n_tokens)): p for p in fit.points}
        found = []
        for run in self.points.members:
            tokens = None if run.n_tokens is None else round(run.n_tokens)
            point = places.get((round(run.n_params), tokens)) or places.get((round(run.n_params), None))
            if run.series == fit.method_id and point is not None:
                found.append(replace(point, run_id=run.run_id, observed=run.loss, weight=0.0))
        return found

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Axes of the study with their roles."""
        return self.points.axes if self.points else ()

    def optimum(self) -> list[dict[str, Any]]:
        """Where each tuned axis of each series is best at each target."""
        rows = self.of("target") if self.points else []
        places = dict.fromkeys((p.n_params, p.n_tokens) for p in rows)
        return [
            one.at({"n_params": size, "n_tokens": tokens}, self.request.level)
            for size, tokens in places
            for one in (self.points.optima if self.points else ())
        ]  # fmt: skip

    def to_json(self) -> dict[str, Any]:
        """The document of `fit-scaling --json`: one object a series (and metric), the ranking, warnings, a summary."""
        targets = [part for part in self.parts if part.role == "target"]
        return {
            **({} if self.size_name == "n_params" else {"size_name": self.size_name}),
            "fits": [d for part in targets for d in part.documents(self.request, self.warnings, self.projections)],
            "ranking": [rank.to_dict() for rank in self.ranking],
            "warnings": [w.to_dict() for w in self.warnings],
            "summary": self.summary,
            "study": dict(self.study),
            "axes": [axis.to_dict() for axis in self.axes],
            "optimum": self.optimum(),
            "data_rule": self.data_rule,
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
    arranged = losses.read_losses(selection, request.roles, request.loss_quantity, request.inputs)
    ladder, points = arranged.ladder, arranged.points
    require_sizes(ladder, pooled=len(ladder) > 1)
    hidden = selection.hidden(request)
    data = scores_of(selection, points)
    target = losses.fit_part("target", ladder, data, request, run_noise=points.run_noise)
    sizes = selection.targets(request)
    if request.data_rule.flops is not None and not request.targets:
        sizes = [losses.best_size(target.ensemble, request.data_rule.flops)]
    where, rule = targets(sizes, request.data_rule, arranged.tokens)
    notes = [*points.warnings, *checks.of_data(ladder), *checks.of_fit(target.ensemble)]
    notes += checks.of_assumptions(target.ensemble.ladder, request.loss_quantity is None)
    notes += of_targets(read(points.frame, inputs=_known_inputs(points), group="series"), where)
    if selection.data_counts and not ladder.has("n_tokens") and "n_tokens" in _known_inputs(points):
        notes += checks.of_data_left_out(read(points.frame, inputs=_known_inputs(points), group="series"))
    ranked = losses.equal_data(arranged)
    if not ranked:
        notes.append(
            FitWarning("unequal_data", "series saw different amounts of data at one size: they are not ranked")
        )
    projections, ranks = losses.project_targets(target, where, request, ranked=ranked)
    parts = [target]
    if hidden is not None:
        backtest = losses.backtest_part(ladder, data, request, float(np.log(hidden)), points.run_noise)
        if isinstance(backtest, FitWarning):
            notes.append(backtest)
        else:
            parts.append(backtest)
            projections += losses.project_hidden(backtest, request, arranged.tokens)
    notes += [note for one in target.scores for note in one.warnings()]
    notes += mixed_engines(selection.scores, points.series_of)
    return Analysis(
        request, "loss", tuple(parts), tuple(projections), tuple(ranks), tuple(notes), selection.sql, selection.study,
        points, rule, selection.query_hash, selection.size_name, arranged.tokens,
    )  # fmt: skip


def _known_inputs(points: Points) -> dict[str, str]:
    names = [name for name in ("n_params", "n_tokens") if not points.frame[name].null_count()]
    return {name: name for name in names}


def scores_of(selection: Selection, points: Points) -> Sequence[ScoreData]:
    """Scores of the runs that are analysed, under the names of their series."""
    import polars as pl

    scores = selection.scores
    if scores is None or scores.is_empty():
        return ()
    named = pl.DataFrame({"run_id": list(points.series_of), "series": list(points.series_of.values())})
    mine = scores.join(named, on="run_id").with_columns(method_id="series").drop("series")
    if mine.is_empty():
        return ()
    found, along = read_scores(mine), selection.along
    if along is None or along.is_empty():
        return found
    marked = along.join(named, on="run_id").with_columns(
        method_id="series", run_id=pl.concat_str("run_id", pl.lit(AT), pl.col("step").cast(pl.String))
    )
    beside = {(one.task_id, one.metric): one for one in read_scores(marked)}
    return [replace(one, along=beside.get((one.task_id, one.metric))) for one in found]


def _ranked_alone(scores: pl.DataFrame, data: Sequence[ScoreData]) -> str | None:
    """The metric that ranks where there is one task and no mean over several: its main one, or the only one."""
    if len({one.task_id for one in data}) > 1 or data[0].task_id == MEAN_TASK:
        return None
    metrics = [one.metric for one in data]
    if len(metrics) > 1 and "is_main_metric" in scores.columns:
        main = set(scores.filter(scores["is_main_metric"])["metric"])
        metrics = [name for name in metrics if name in main]
    return metrics[0] if len(metrics) == 1 else None


def _of_scores(selection: Selection, request: FitRequest) -> Analysis:
    assert selection.scores is not None
    sized.check_link(request.law)
    data, notes = sized.usable(read_scores(selection.scores, by_size=True))
    sizes = np.exp(np.unique(np.concatenate([one.log_size for one in data]))).tolist()
    where = selection.targets(request)
    hidden = hidden_size(request.holdout, sizes, selection.names)
    notes += mixed_engines(selection.scores)
    parts, projections, ranks = [], [], []
    ranked_alone = _ranked_alone(selection.scores, data)
    for one in data:
        part = sized.fit_part(one, routes.beside(data, one, request.through), "target", request)
        parts.append(part)
        found, ranked = sized.project_targets(part, where, request, ranks_alone=one.metric == ranked_alone)
        notes += sized.warnings(one)
        projections += found
        ranks += ranked
    if hidden is not None:
        cut = float(np.log(hidden))
        backtests = [sized.backtest_part(one, routes.beside(data, one, request.through), cut, request) for one in data]
        checked = [part for part in backtests if part is not None]
        parts += checked
        projections += [row for part in checked for row in sized.project_hidden(part, request)]
        if not checked:
            notes.append(FitWarning("no_backtest", "too few sizes to hide the largest: the projection is unchecked"))
    if selection.rates_apart:
        notes.append(
            FitWarning(
                "rates_apart",
                "several learning rates have scores and no loss that ranks them: each rate is a series of its own "
                "(lora lr=0.001); leave out those that do not count with `astraios exclude`",
            )
        )
    notes += [
        FitWarning("far_extrapolation", f"{size:.4g} is over {FAR:g} times the largest size seen")
        for size in where
        if size > FAR * sizes[-1]
    ]
    return Analysis(
        request, "score", tuple(parts), tuple(projections), tuple(ranks), tuple(notes), selection.sql, selection.study,
        query_hash=selection.query_hash,
    )  # fmt: skip
