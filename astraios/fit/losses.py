"""The losses of an analysis: fitted in one role, projected, ranked, and the scores that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import DataError, FitError, UsageError, did_you_mean
from astraios.fit.axes import Points, Roles, arrange
from astraios.fit.curve import Array
from astraios.fit.decide import ranking
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import Draws, Ensemble, build, noisier
from astraios.fit.fitted import document, fitted
from astraios.fit.named import LEAST, USUAL, check_inputs, with_shares
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder, Series, fit_id, read
from astraios.fit.request import FitRequest
from astraios.fit.scores import routes
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.part import ScorePart
from astraios.fit.selection import Selection
from astraios.fit.targets import FLOPS_PER_TOKEN, SAME, Target, Tokens, number
from astraios.fit.weigh import candidates, estimator_name, varies
from astraios.records.fitted import CurvePoint, Fitted, Projection

if TYPE_CHECKING:
    import polars as pl

CURVE = 33
"""Sizes at which a projection is kept as a curve."""


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


@dataclass(frozen=True)
class Arranged:
    """Runs as series of points, and what they say about amounts of data."""

    ladder: Ladder
    points: Points
    tokens: Tokens


def read_losses(
    selection: Selection, roles: Roles, quantity: str | None = None, inputs: Sequence[tuple[str, str]] = ()
) -> Arranged:
    """The series of an analysis: by size, by amount of data where it varies by itself, and by inputs that are named.

    Raises:
        UsageError: an unknown quantity or input.
        DataError: no rows, a value that is not a positive number, sizes counted in two ways.
        UsageError: runs differ in a fact that has no role.
    """
    import polars as pl

    losses = selection.losses
    if losses is None or losses.is_empty():
        raise DataError("no rows to fit: collect or import some runs first")
    _one_size_a_model(losses)
    if "n_tokens" not in losses.columns:
        losses = losses.with_columns(n_tokens=pl.lit(None, pl.Int64))
    losses, named = _with_inputs(losses, dict(inputs))
    said = [name for name in selection.repeats if name in losses.columns and name not in roles.facts]
    roles = replace(roles, repeat=(*roles.repeat, *said))
    known = losses["n_tokens"].null_count() == 0
    whole = ["n_params", *(["n_tokens"] if known else []), *named]
    unused = () if known else ("n_tokens",)
    points = arrange(
        losses, inputs=whole, series=selection.series, roles=roles, settings=selection.settings,
        not_facts=(*selection.not_facts, *unused), curated=selection.curated, named=named,
    )  # fmt: skip
    points = replace(points, warnings=(*selection.notes, *points.warnings))
    quantity = quantity or selection.loss_quantity
    ladder = read(points.frame, inputs={name: name for name in whole}, group="series", quantity=quantity)
    free = known and varies(ladder, "n_tokens")
    tokens = Tokens.of(ladder, free=free)
    if not free:
        _refuse_mixed_amounts(points.frame)
        held = {name: name for name in ("n_params", *named)}
        ladder = read(points.frame, inputs=held, group="series", quantity=quantity)
    return Arranged(ladder, points, tokens)


def _with_inputs(losses: pl.DataFrame, inputs: Mapping[str, str]) -> tuple[pl.DataFrame, list[str]]:
    """Columns of further inputs under the names that laws have for them."""
    named = check_inputs(inputs)
    for name, column in named.items():
        if column not in losses.columns:
            raise UsageError(f"--input {name}={column}: {did_you_mean(column, losses.columns)}")
        if lacking := losses[column].null_count():
            raise UsageError(
                f"--input {name}={column}: {lacking} of {len(losses)} runs do not say their {column}: leave them out "
                "with --where or `astraios exclude`"
            )
    moved = {column: name for name, column in named.items() if column != name}
    clash = [name for name in moved.values() if name in losses.columns]
    return with_shares(losses.drop(clash).rename(moved), {name: name for name in named}), list(named)


def _refuse_mixed_amounts(frame: pl.DataFrame) -> None:
    """Amounts of data that no law can use must not be averaged at one size."""
    import polars as pl

    if "n_tokens" not in frame.columns:
        return
    mixed = frame.group_by("series", "n_params").agg(
        pl.col("n_tokens").min().alias("least"), pl.col("n_tokens").max().alias("most")
    ).filter(pl.col("most") > pl.col("least") * (1 + SAME)).sort("series", "n_params")  # fmt: skip
    if len(mixed):
        series, size, least, most = mixed.row(0)
        raise UsageError(
            f"runs that would be averaged differ in n_tokens ({number(least)} and {number(most)} for {series} at "
            f"{number(size)} parameters), too few amounts for a law of data: hold one with --where "
            f"n_tokens={most:.0f}, or add runs with a third amount"
        )


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
    role: str, ladder: Ladder, data: Sequence[ScoreData], request: FitRequest, cut: float | None = None,
    run_noise: float | None = None,
) -> LossPart:  # fmt: skip
    """All series of a ladder fitted, and the scores beside them that are smaller than `cut` (log size).

    Args:
        run_noise: noise of a single run in log loss, where points are better known than by one run (tuned ones).
    """
    estimator = estimator_name(request.estimator)
    laws = candidates(request.law, ladder, tuple(dict(request.inputs)))
    ensemble = build(laws, ladder, estimator, request.seed, base_noise=request.base_noise)
    ensemble = noisier(ensemble, run_noise, request.seed)
    key: tuple[Any, ...] = (request.law, estimator, request.level, request.seed, role)
    key += () if request.base_noise is None else (f"base noise {request.base_noise}",)
    ids = {name: fit_id(ladder, *key, name) for name in ladder.names}
    more = tuple(word for word in (request.link, request.through) if word != "auto")
    scores = []
    for one in routes.outputs(data, request.through):
        below = np.ones(len(one), bool) if cut is None else one.log_size < cut - 1e-9
        if below.sum() >= 3:
            seen = one.keep(below)
            beside = routes.beside(data, one, request.through)
            beside = beside if cut is None else [other.keep(other.log_size < cut - 1e-9) for other in beside]
            ways = routes.build(seen, ensemble, beside, link=request.link, through=request.through, seed=request.seed)
            score_id = fit_id(ladder, *key, *more, one.task_id, one.metric, seen.value.tobytes())
            scores.append(ScorePart(score_id, role, ways, seen, one.keep(~below), ladder.hash()))
    return LossPart(role, ensemble, ids, tuple(scores))


def backtest_part(
    ladder: Ladder, data: Sequence[ScoreData], request: FitRequest, cut: float, run_noise: float | None = None
) -> LossPart | FitWarning:
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
    part = fit_part("backtest", train, data, request, cut, run_noise)
    return LossPart(part.role, part.ensemble, part.ids, part.scores, ladder.keep(masks))


def _columns(ladder: Ladder, target: Target, at: Mapping[str, float] | None = None) -> dict[str, Array]:
    """Log inputs (series, 1) of a target, the same for all series; further inputs `at` their values, else the most."""
    columns = {"n_params": np.full((len(ladder), 1), np.log(target.n_params))}
    if "n_tokens" in ladder.series[0].inputs:
        assert target.n_tokens is not None
        columns["n_tokens"] = np.full((len(ladder), 1), np.log(target.n_tokens))
    for name in ladder.series[0].inputs:
        if name not in USUAL:
            value = (at or {}).get(name)
            log_value = ladder.column(name).max() if value is None else np.log(max(value, LEAST))
            columns[name] = np.full((len(ladder), 1), log_value)
    return columns


def best_size(ensemble: Ensemble, flops: float) -> float:
    """The size with the lowest projected loss, mean over series, of those that a budget trains (6 N D FLOPs).

    Raises:
        FitError: the fit does not use both size and data.
    """
    ladder = ensemble.ladder
    if "n_tokens" not in ladder.series[0].inputs:
        raise FitError(
            "--target-flops without --target asks for the best size, which needs runs whose amounts of data vary by "
            "themselves: name a size with --target"
        )
    middle = 0.5 * np.log(flops / FLOPS_PER_TOKEN)
    size = middle + np.linspace(-1, 1, 401) * 2 * np.log(10)
    grid = np.tile(size, (len(ladder), 1))
    drawn = ensemble.project({"n_params": grid, "n_tokens": np.log(flops / FLOPS_PER_TOKEN) - grid})
    return float(np.exp(size[int(np.argmin(drawn.mean.mean(0)))]))


def equal_data(arranged: Arranged) -> bool:
    """Whether all series were trained on the same amounts of data at the sizes that they share, or laws know data."""
    import polars as pl

    frame = arranged.points.frame
    if arranged.tokens.kind in ("free", "unknown", "constant"):
        return True
    spread = frame.group_by("n_params").agg(
        pl.col("n_tokens").min().alias("least"), pl.col("n_tokens").max().alias("most")
    )
    return bool((spread["most"] <= spread["least"] * (1 + SAME)).all())


def project_targets(
    part: LossPart, targets: Sequence[Target], request: FitRequest, *, ranked: bool = True
) -> tuple[list[Projection], list[Rank]]:
    """Every series at every target, its scores, and the ranking there where inputs are equal."""
    names, level = part.ensemble.ladder.names, request.level
    rows: list[Projection] = []
    ranks: list[Rank] = []
    for index, target in enumerate(targets):
        size, tokens = target.n_params, target.n_tokens
        drawn = part.ensemble.project(_columns(part.ensemble.ladder, target, dict(request.at)))
        low, high = drawn.interval(level)
        mean, losses = np.exp(drawn.mean[:, 0]), np.exp(drawn.draws[:, :, 0])
        here = ranking.rank(names, size, mean, low[:, 0], high[:, 0], losses, level, n_tokens=tokens) if ranked else []
        ranks += here
        best = {r.method_id: r.p_best for r in here}
        at = _scored(part, drawn, float(np.log(size)), tokens, [request.seed, 1, index])
        for g, name in enumerate(names):
            rows.append(_loss_row(part, drawn, g, size, tokens, level, p_best=best.get(name)))
            scored = [
                one.project(found, g, name, size, tokens, level) for one, found in zip(part.scores, at, strict=True)
            ]
            rows += [row for row in scored if row is not None]
    return rows, ranks


def _scored(
    part: LossPart, drawn: Draws, log_size: float, tokens: float | None, seed: list[int]
) -> list[tuple[Array, Array]]:
    """Draws of every metric for all series, (series, draws) of the mean and of a new evaluation each."""
    losses = np.exp(drawn.draws[:, :, 0])
    log_tokens = None if tokens is None else float(np.log(tokens))
    at = routes.At(part.ensemble.ladder.names, log_size, log_tokens, losses, losses.shape[1])
    return [one.routes.draw(np.random.default_rng([*seed, one.seed()]), at) for one in part.scores]


def curves(part: LossPart, largest: float, level: float) -> dict[str, list[CurvePoint]]:
    """Each series' projection over size, from its smallest run to `largest`; none where the law takes data too."""
    ladder = part.ensemble.ladder
    if {name for fit in part.ensemble.fits for name in fit.law.inputs} != {"n_params"}:
        return {}
    ends = [(float(one.inputs["n_params"].min()), float(np.log(largest))) for one in ladder.series]
    sizes = np.stack([np.linspace(low, max(low, high), CURVE) for low, high in ends])
    drawn = part.ensemble.project({"n_params": sizes})
    low, high = drawn.interval(level)
    new_low, new_high = drawn.interval(level, new=True)
    columns = np.stack([np.exp(sizes), np.exp(drawn.mean), low, high, new_low, new_high, np.full_like(sizes, level)])
    return {name: [CurvePoint(*at) for at in columns[:, g].T.tolist()] for g, name in enumerate(ladder.names)}


def project_hidden(part: LossPart, request: FitRequest, tokens_of: Tokens) -> list[Projection]:
    """Every hidden point of every series, beside what was observed there."""
    assert part.hidden is not None
    names, level, rows = part.ensemble.ladder.names, request.level, []
    scored_at: dict[tuple[float, ...], list[tuple[Array, Array]]] = {}
    for series in part.hidden.series:
        g = names.index(series.name)
        seen = part.ensemble.ladder.series[g]
        points = np.unique(np.round(np.column_stack([*series.inputs.values()]), 9), axis=0)
        for point in points:
            at = np.all(
                [np.isclose(c, v, atol=1e-8) for c, v in zip(series.inputs.values(), point, strict=True)], axis=0
            )
            columns = {n: np.full((len(names), 1), c[at][0]) for n, c in series.inputs.items()}
            drawn = part.ensemble.project(columns)
            log_size = columns["n_params"][0, 0]
            tokens = float(np.round(np.exp(columns["n_tokens"][0, 0]))) if "n_tokens" in columns else None
            tokens = tokens_of.at(float(np.exp(log_size))) if tokens is None else tokens
            carried = _carried(seen, {name: float(c[at][0]) for name, c in series.inputs.items()})
            observed = float(np.exp(series.log_loss[at]).mean())
            size = float(np.round(np.exp(log_size)))
            rows.append(_loss_row(part, drawn, g, size, tokens, level, observed=observed, carried=carried))
            place = tuple(np.round(point, 6))
            if place not in scored_at:
                scored_at[place] = _scored(part, drawn, log_size, tokens, [request.seed, 2, len(scored_at)])
            scored = [one.project_hidden(found, g, series.name, log_size, tokens, level)
                      for one, found in zip(part.scores, scored_at[place], strict=True)]  # fmt: skip
            rows += [row for row in scored if row is not None]
    return rows


def _carried(seen: Series, point: Mapping[str, float]) -> float:
    """The loss at the largest size that was seen: with as much data as the point has, or the nearest larger amount."""
    last = seen.inputs["n_params"] > seen.inputs["n_params"].max() - 1e-9
    if "n_tokens" in point:
        amounts = seen.inputs["n_tokens"][last]
        enough = amounts[amounts > point["n_tokens"] - SAME]
        nearest = enough.min() if len(enough) else amounts.max()
        last &= np.abs(seen.inputs["n_tokens"] - nearest) < SAME
    return float(np.exp(seen.log_loss[last]).mean())


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
