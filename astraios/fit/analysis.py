"""The whole analysis behind `astraios fit-scaling`: project losses, predict scores from them, check, rank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import DataError, FitError, UsageError
from astraios.fit import checks
from astraios.fit.api import fit_id
from astraios.fit.curve import Array
from astraios.fit.decide import ranking
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import Draws, build
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder, read, require_sizes
from astraios.fit.output import ScalingAnalysis
from astraios.fit.projection import Part, Projection
from astraios.fit.scores import from_loss as score
from astraios.fit.scores.data import ScoreData, read_scores
from astraios.fit.weigh import candidates, estimator_name, varies

if TYPE_CHECKING:
    import polars as pl


def analyse(
    losses: pl.DataFrame,
    scores: pl.DataFrame | None = None,
    *,
    law: str = "auto",
    link: str = "auto",
    targets: Sequence[float] = (),
    holdout: str | float | None = "largest",
    level: float = 0.9,
    seed: int = 0,
    estimator: str = "huber",
    loss_definition: str = "last",
    split: str = "test",
    data_sql: str | None = None,
    data_counts: bool = False,
) -> ScalingAnalysis:
    """Project each method's final loss, check it on hidden sizes, predict scores, rank.

    Args:
        losses: columns method_id, run_id, seed, model_id, n_params, n_tokens (may be null), loss (nats).
        scores: columns run_id, method_id, n_params, loss, task_id, metric, value, stderr, n, chance, ceiling,
            higher_is_better; values are fractions.
        law: name of a law, or auto.
        link: name of a link from loss to score, or auto.
        targets: sizes to project to; without any, the largest size of the data.
        holdout: "largest", a size (it and all larger ones are hidden), or None for no backtest.
        level: nominal coverage of the intervals.
        loss_definition, split, data_sql: recorded with the fits.
        data_counts: whether the amount of data was asked for, so that its having no part in the fit is a warning.

    Raises:
        DataError: no rows, a value that is not a positive number.
        FitError: too few sizes; nothing to hide, or nothing left.
        UsageError: an unknown law, link or estimator, a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level} is not between 0 and 1")
    if any(not np.isfinite(t) or t <= 0 for t in targets):
        raise UsageError("a target is not a positive size")
    ladder = read_losses(losses)
    settings = {
        "law": law, "link": link, "level": level, "seed": seed, "estimator": estimator_name(estimator),
        "loss_definition": loss_definition, "split": split, "data_sql": data_sql,
    }  # fmt: skip
    require_sizes(ladder, pooled=len(ladder) > 1)
    data = read_scores(scores) if scores is not None and not scores.is_empty() else ()
    parts = [_part("target", ladder, data, settings)]
    notes = [*checks.of_data(ladder), *checks.of_fit(parts[0].ensemble), *checks.of_target(ladder, targets)]
    if data_counts and not ladder.has("n_tokens"):
        inputs = {"n_params": "n_params", "n_tokens": "n_tokens"}
        notes += checks.of_data_left_out(read(losses, inputs=inputs, group="method_id"))
    backtest = _backtest_part(ladder, data, settings, holdout)
    if isinstance(backtest, FitWarning):
        notes.append(backtest)
    elif backtest is not None:
        parts.append(backtest)
    sizes = [float(t) for t in targets] or [float(np.exp(ladder.column("n_params").max()))]
    projections, ranks = _project_targets(parts[0], sizes, settings)
    if len(parts) > 1:
        projections += _project_hidden(parts[1], settings)
    notes += _score_notes(parts[0])
    return ScalingAnalysis(tuple(parts), tuple(projections), tuple(ranks), tuple(notes), settings)


def read_losses(losses: pl.DataFrame) -> Ladder:
    """The ladder of `analyse`: by size, and by amount of data where it varies by itself.

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


def _part(
    role: str, ladder: Ladder, data: Sequence[ScoreData], settings: dict[str, Any], cut: float | None = None
) -> Part:
    laws = candidates(settings["law"], ladder)
    ensemble = build(laws, ladder, settings["estimator"], settings["seed"])
    key = (settings["law"], settings["estimator"], settings["level"], settings["seed"], role)
    ids = {name: fit_id(ladder, *key, name) for name in ladder.names}
    kept, hidden = [], []
    for one in data:
        below = np.ones(len(one), bool) if cut is None else one.log_size < cut - 1e-9
        if below.sum() >= 3:
            kept.append(score.build(one.keep(below), settings["link"]))
            hidden.append(one.keep(~below))
    more = () if settings["link"] == "auto" else (settings["link"],)
    score_ids = tuple(fit_id(ladder, *key, *more, m.data.task_id, m.data.metric, m.data.value.tobytes()) for m in kept)
    return Part(role, ensemble, ids, tuple(kept), score_ids, hidden_scores=tuple(hidden))


def _backtest_part(
    ladder: Ladder, data: Sequence[ScoreData], settings: dict[str, Any], holdout: str | float | None
) -> Part | FitWarning | None:
    if holdout is None or holdout == "none":
        return None
    largest = ladder.column("n_params").max()
    cut = largest if holdout == "largest" else float(np.log(float(holdout)))
    if cut > largest + 1e-9:
        raise FitError(
            f"nothing to hide: no size is {np.exp(cut):.4g} or larger (the largest is {np.exp(largest):.4g})"
        )
    train = ladder.below("n_params", cut)
    sizes = len(train.levels("n_params")) if len(train) else 0
    if sizes < 2 or (sizes == 2 and len(train) == 1):
        if holdout != "largest":
            raise FitError(f"hiding sizes from {np.exp(cut):.4g} on leaves {sizes}: a backtest needs more")
        return FitWarning("no_backtest", "too few sizes to hide the largest: the projection is unchecked")
    known = set(train.names)
    masks = [s.inputs["n_params"] >= cut - 1e-9 if s.name in known else np.zeros(len(s), bool) for s in ladder.series]
    part = _part("backtest", train, data, settings, cut)
    return Part(
        "backtest", part.ensemble, part.ids, part.scores, part.score_ids, ladder.keep(masks), part.hidden_scores
    )


def _columns(ladder: Ladder, size: float) -> dict[str, Array]:
    """Log inputs (series, 1) of a size; data as each series had at its own largest size."""
    columns = {"n_params": np.full((len(ladder), 1), np.log(size))}
    for name in ladder.series[0].inputs:
        if name != "n_params":
            columns[name] = np.array([[s.inputs[name][np.argmax(s.inputs["n_params"])]] for s in ladder.series])
    return columns


def _project_targets(
    part: Part, sizes: Sequence[float], settings: dict[str, Any]
) -> tuple[list[Projection], list[Rank]]:
    names, level = part.ensemble.ladder.names, settings["level"]
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
            rng = np.random.default_rng([settings["seed"], 1, index, g])
            rows += [
                _score_row(part, m, i, rng, mean[g : g + 1], losses[g], name, size, tokens, level)
                for m, i in zip(part.scores, part.score_ids, strict=True)
            ]
    return rows, ranks


def _project_hidden(part: Part, settings: dict[str, Any]) -> list[Projection]:
    assert part.hidden is not None
    names, level, rows = part.ensemble.ladder.names, settings["level"], []
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
            size = float(np.round(np.exp(columns["n_params"][0, 0])))
            tokens = float(np.round(np.exp(columns["n_tokens"][0, 0]))) if "n_tokens" in columns else None
            observed = float(np.exp(series.log_loss[at]).mean())
            rows.append(_loss_row(part, drawn, g, size, tokens, level, observed=observed, carried=carried))
            rng = np.random.default_rng([settings["seed"], 2, index, g])
            mean, losses = np.exp(drawn.mean[g, :1]), np.exp(drawn.draws[g, :, 0])
            for model, hidden, link_id in zip(part.scores, part.hidden_scores, part.score_ids, strict=True):
                here = (np.array(hidden.group) == series.name) & np.isclose(hidden.log_size, columns["n_params"][0, 0])
                if not here.any():
                    continue
                mine = np.array(model.data.group) == series.name
                top = mine & (model.data.log_size == model.data.log_size[mine].max(initial=-np.inf))
                rows.append(
                    _score_row(
                        part, model, link_id, rng, mean, losses, series.name, size, tokens, level,
                        observed=float(hidden.value[here].mean()),
                        carried=float(model.data.value[top].mean()) if top.any() else None,
                    )
                )  # fmt: skip
    return rows


def _loss_row(
    part: Part, drawn: Draws, g: int, size: float, tokens: float | None, level: float, *,
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


def _score_row(
    part: Part, model: score.ScoreModel, link_id: str, rng: np.random.Generator, loss: Array, losses: Array, name: str,
    size: float, tokens: float | None, level: float, *, observed: float | None = None, carried: float | None = None,
) -> Projection:  # fmt: skip
    mean = float(model.point(loss, name)[0])
    draws, new = model.draw(rng, losses, name)
    tail = (1 - level) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    new_low, new_high = np.quantile(new, [tail, 1 - tail])
    return Projection(
        link_id, part.role, "score", name, model.data.task_id, model.data.metric, size, tokens, mean,
        min(float(low), mean), max(float(high), mean), min(float(new_low), mean), max(float(new_high), mean), level,
        observed, carried, None, len(model.data),
    )  # fmt: skip


def _score_notes(part: Part) -> list[FitWarning]:
    notes = []
    for model in part.scores:
        task = model.data.task_id
        if not model.follows:
            notes.append(
                FitWarning("not_predictable", f"{task}: {model.data.metric} does not go with the loss here", task)
            )
        margin = model.data.chance + 2 * float(np.median(model.data.stderr))
        if model.data.chance > 0 and float(np.median(model.data.value)) < margin:
            notes.append(FitWarning("near_chance", f"{task}: most scores are within two errors of chance", task))
    return notes
