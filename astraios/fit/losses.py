"""The losses of an analysis: fitted in one role, projected, ranked, and the scores that go with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import DataError, FitError
from astraios.fit.api import fit_id
from astraios.fit.curve import Array
from astraios.fit.decide import ranking
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import Draws, Ensemble, build
from astraios.fit.fitted import document, fitted
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder, read
from astraios.fit.request import FitRequest
from astraios.fit.scores import from_loss
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.part import ScorePart
from astraios.fit.weigh import candidates, estimator_name, varies
from astraios.records.fitted import Fitted, Projection

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class LossPart:
    """All series in one role: all data for targets, or the smaller sizes for the backtest."""

    role: str
    ensemble: Ensemble
    ids: dict[str, str]
    """fit_id by series."""
    scores: tuple[ScorePart, ...]
    hidden: Ladder | None = None
    """What the backtest hides."""

    def fitted(self, request: FitRequest, sql: str | None, warnings: Sequence[FitWarning]) -> list[Fitted]:
        """The fits as they are kept: one a series, then one a metric."""
        own = fitted(self.role, self.ensemble, self.ids, self.hidden, request, sql, warnings)
        return [*own, *(part.fitted(request, sql, warnings) for part in self.scores)]

    def documents(
        self, request: FitRequest, warnings: Sequence[FitWarning], projections: Sequence[Projection]
    ) -> list[dict[str, Any]]:
        """One object a series, as JSON prints it, with the projections of its loss and scores."""
        return [
            {
                **document(self.ensemble, g, self.ids[name], request.level),
                "warnings": [w.to_dict() for w in warnings if w.group == name],
                "projections": [p.to_dict() for p in projections if p.method_id == name],
            }
            for g, name in enumerate(self.ensemble.ladder.names)
        ]


def read_losses(losses: pl.DataFrame) -> Ladder:
    """The series of an analysis: by size, and by amount of data where it varies by itself.

    Raises:
        DataError: no rows, a value that is not a positive number, sizes counted in two ways.
    """
    if losses.is_empty():
        raise DataError("no rows to fit: collect or import some runs first")
    _one_size_a_model(losses)
    inputs = {"n_params": "n_params"}
    if "n_tokens" in losses.columns and losses["n_tokens"].null_count() == 0:
        inputs["n_tokens"] = "n_tokens"
    ladder = read(losses, inputs=inputs, group="method_id")
    if len(inputs) > 1 and not varies(ladder, "n_tokens"):
        ladder = read(losses, group="method_id")
    return ladder


def _one_size_a_model(losses: pl.DataFrame) -> None:
    import polars as pl

    if "model_id" not in losses.columns:
        return
    counts = losses.group_by("model_id").agg(pl.col("n_params").n_unique().alias("n")).filter(pl.col("n") > 1)
    if not counts.is_empty():
        model = counts["model_id"].sort()[0]
        sizes = losses.filter(pl.col("model_id") == model)["n_params"].unique().sort().to_list()
        raise DataError(
            f"model {model!r} has sizes {sizes[0]} and {sizes[1]}: total and non-embedding counts are mixed, use one"
        )


def fit_part(
    role: str, ladder: Ladder, data: Sequence[ScoreData], request: FitRequest, cut: float | None = None
) -> LossPart:
    """All series of a ladder fitted, and the scores beside them that are smaller than `cut` (log size)."""
    estimator = estimator_name(request.estimator)
    ensemble = build(candidates(request.law, ladder), ladder, estimator, request.seed)
    key = (request.law, estimator, request.level, request.seed, role)
    ids = {name: fit_id(ladder, *key, name) for name in ladder.names}
    more = () if request.link == "auto" else (request.link,)
    scores = []
    for one in data:
        below = np.ones(len(one), bool) if cut is None else one.log_size < cut - 1e-9
        if below.sum() >= 3:
            model = from_loss.build(one.keep(below), request.link)
            score_id = fit_id(ladder, *key, *more, one.task_id, one.metric, model.data.value.tobytes())
            scores.append(ScorePart(score_id, role, model, one.keep(~below), ladder.hash()))
    return LossPart(role, ensemble, ids, tuple(scores))


def backtest_part(ladder: Ladder, data: Sequence[ScoreData], request: FitRequest, cut: float) -> LossPart | FitWarning:
    """The sizes below `cut` (log size) fitted, and what they hide; a warning where they are too few to hide any.

    Raises:
        FitError: they are too few, and it was this size that was to be hidden.
    """
    train = ladder.below("n_params", cut)
    sizes = len(train.levels("n_params")) if len(train) else 0
    if sizes < 2 or (sizes == 2 and len(train) == 1):
        if request.holdout != "largest":
            raise FitError(f"hiding sizes from {np.exp(cut):.4g} on leaves {sizes}: a backtest needs more")
        return FitWarning("no_backtest", "too few sizes to hide the largest: the projection is unchecked")
    known = set(train.names)
    masks = [s.inputs["n_params"] >= cut - 1e-9 if s.name in known else np.zeros(len(s), bool) for s in ladder.series]
    part = fit_part("backtest", train, data, request, cut)
    return LossPart(part.role, part.ensemble, part.ids, part.scores, ladder.keep(masks))


def _columns(ladder: Ladder, size: float) -> dict[str, Array]:
    """Log inputs (series, 1) of a size; data as each series had at its own largest size."""
    columns = {"n_params": np.full((len(ladder), 1), np.log(size))}
    for name in ladder.series[0].inputs:
        if name != "n_params":
            columns[name] = np.array([[s.inputs[name][np.argmax(s.inputs["n_params"])]] for s in ladder.series])
    return columns


def project_targets(part: LossPart, sizes: Sequence[float], request: FitRequest) -> tuple[list[Projection], list[Rank]]:
    """Every series at every target size, its scores, and the ranking there."""
    names, level = part.ensemble.ladder.names, request.level
    rows: list[Projection] = []
    ranks: list[Rank] = []
    for index, size in enumerate(sizes):
        columns = _columns(part.ensemble.ladder, size)
        drawn = part.ensemble.project(columns)
        low, high = drawn.interval(level)
        mean, losses = np.exp(drawn.mean[:, 0]), np.exp(drawn.draws[:, :, 0])
        ranked = ranking.rank(names, size, mean, low[:, 0], high[:, 0], losses, level)
        ranks += ranked
        best = {r.method_id: r.p_best for r in ranked}
        for g, name in enumerate(names):
            tokens = float(np.exp(columns["n_tokens"][g, 0])) if "n_tokens" in columns else None
            rows.append(_loss_row(part, drawn, g, size, tokens, level, p_best=best[name]))
            rng = np.random.default_rng([request.seed, 1, index, g])
            rows += [one.project(rng, mean[g : g + 1], losses[g], name, size, tokens, level) for one in part.scores]
    return rows, ranks


def project_hidden(part: LossPart, request: FitRequest) -> list[Projection]:
    """Every hidden point of every series, beside what was observed there."""
    assert part.hidden is not None
    names, level, rows = part.ensemble.ladder.names, request.level, []
    for series in part.hidden.series:
        g = names.index(series.name)
        seen = part.ensemble.ladder.series[g]
        last = seen.inputs["n_params"] == seen.inputs["n_params"].max()
        carried = float(np.exp(seen.log_loss[last]).mean())
        points = np.unique(np.round(np.column_stack([*series.inputs.values()]), 9), axis=0)
        for index, point in enumerate(points):
            at = np.all(
                [np.isclose(c, v, atol=1e-8) for c, v in zip(series.inputs.values(), point, strict=True)], axis=0
            )
            columns = {n: np.full((len(names), 1), c[at][0]) for n, c in series.inputs.items()}
            drawn = part.ensemble.project(columns)
            log_size = columns["n_params"][0, 0]
            tokens = float(np.round(np.exp(columns["n_tokens"][0, 0]))) if "n_tokens" in columns else None
            observed = float(np.exp(series.log_loss[at]).mean())
            size = float(np.round(np.exp(log_size)))
            rows.append(_loss_row(part, drawn, g, size, tokens, level, observed=observed, carried=carried))
            rng = np.random.default_rng([request.seed, 2, index, g])
            mean, losses = np.exp(drawn.mean[g, :1]), np.exp(drawn.draws[g, :, 0])
            scored = [one.project_hidden(rng, mean, losses, series.name, log_size, tokens, level)
                      for one in part.scores]  # fmt: skip
            rows += [row for row in scored if row is not None]
    return rows


def _loss_row(
    part: LossPart, drawn: Draws, g: int, size: float, tokens: float | None, level: float, *,
    observed: float | None = None, carried: float | None = None, p_best: float | None = None,
) -> Projection:  # fmt: skip
    low, high = drawn.interval(level)
    new_low, new_high = drawn.interval(level, new=True)
    name = part.ensemble.ladder.names[g]
    return Projection(
        part.ids[name], part.role, "loss", name, None, None, size, tokens, float(np.exp(drawn.mean[g, 0])),
        float(low[g, 0]), float(high[g, 0]), float(new_low[g, 0]), float(new_high[g, 0]), level, observed, carried,
        p_best, len(part.ensemble.ladder.series[g]),
    )  # fmt: skip
