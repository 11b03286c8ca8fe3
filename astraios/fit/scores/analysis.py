"""The analysis behind `astraios fit-scaling` where there are scores and no losses: project from size, check, rank."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.decide import ranking
from astraios.fit.decide.ranking import Rank
from astraios.fit.ensemble import DRAWS
from astraios.fit.notes import FitWarning
from astraios.fit.projection import Projection
from astraios.fit.scores import by_size
from astraios.fit.scores.data import ScoreData, read_scores

if TYPE_CHECKING:
    import polars as pl

MEAN_TASK = "mean"
"""Task that stands for the mean over tasks; methods are ranked by it where it is there."""


@dataclass(frozen=True)
class Scored:
    """One metric of one task in one role."""

    fit_id: str
    role: str
    model: by_size.SizeModel
    hidden: ScoreData | None = None


@dataclass(frozen=True)
class ScoreScaling:
    """What `fit-scaling` prints and the database keeps; the same face as `scaling.ScalingAnalysis`."""

    parts: tuple[Scored, ...]
    projections: tuple[Projection, ...]
    ranking: tuple[Rank, ...]
    warnings: tuple[FitWarning, ...]
    settings: dict[str, Any]

    def of(self, role: str, quantity: str = "score") -> list[Projection]:
        """Projections of one role and quantity."""
        return [p for p in self.projections if p.role == role and p.quantity == quantity]

    @property
    def summary(self) -> dict[str, float | int | None]:
        """The backtest: relative and absolute errors, ours and carry-forward's, and the coverage of new evaluations."""
        rows = self.of("backtest")
        if not rows:
            return {"n_backtest": 0}
        relative = [(p.relative_error, p.carry_forward_error) for p in rows if p.observed]
        off = [abs(p.mean - (p.observed or 0.0)) for p in rows]
        carried = [abs((p.carry_forward or 0.0) - (p.observed or 0.0)) for p in rows]
        return {
            "n_backtest": len(rows),
            "mean_relative_error": float(np.mean([r for r, _ in relative])) if relative else None,
            "mean_carry_forward_error": float(np.mean([c for _, c in relative])) if relative else None,
            "mean_absolute_error": float(np.mean(off)),
            "mean_absolute_carry_forward_error": float(np.mean(carried)),
            "coverage": float(np.mean([bool(p.covered) for p in rows])),
        }

    def to_json(self) -> dict[str, Any]:
        """The document of `fit-scaling --json`: one fit for each method, task and metric."""
        fits = []
        for part in self.parts:
            if part.role != "target":
                continue
            data = part.model.data
            for method in part.model.names:
                fits.append(
                    {
                        "fit_id": part.fit_id, "group": method, "task_id": data.task_id, "metric": data.metric,
                        "law": self.settings["link"], "best_law": part.model.best.link.name,
                        "parameters": _parameters(part.model, method), "objective": part.model.best.objective,
                        "warnings": [],
                        "projections": [
                            p.to_dict() for p in self.projections
                            if (p.method_id, p.task_id, p.metric) == (method, data.task_id, data.metric)
                        ],
                    }
                )  # fmt: skip
        return {
            "fits": fits,
            "ranking": [rank.to_dict() for rank in self.ranking],
            "warnings": [w.to_dict() for w in self.warnings],
            "summary": self.summary,
        }

    def frames(self) -> dict[str, pl.DataFrame]:
        """Rows for the tables fit, fit_parameter, fit_point, fit_draw (none), projection and backtest."""
        from astraios.fit.output import backtest_row, frames_of, projection_row

        rows: dict[str, list[dict[str, Any]]] = {"fit": [], "fit_parameter": [], "fit_point": []}
        for part in self.parts:
            _rows(part, self.settings, rows)
        rows["projection"] = [projection_row(p) for p in self.projections]
        rows["backtest"] = [backtest_row(p, self.settings["link"]) for p in self.of("backtest")]
        return frames_of(rows)


def analyse_scores(
    scores: pl.DataFrame,
    *,
    link: str = "auto",
    targets: Sequence[float] = (),
    holdout: str | float | None = "largest",
    level: float = 0.9,
    seed: int = 0,
    data_sql: str | None = None,
) -> ScoreScaling:
    """Project every metric of every task from size alone, and check it on hidden sizes.

    Args:
        scores: columns as for `score_data.read_scores`, without losses.
        link: name of a link, or auto.
        targets: sizes to project to; without any, the largest size of the data.
        holdout: "largest", a size (it and all larger ones are hidden), or None for no backtest.
        level: nominal coverage of the intervals.

    Raises:
        DataError: a column is missing.
        FitError: no metric has two sizes; nothing to hide.
        UsageError: a level outside (0, 1), a target that is no size, an unknown link.
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level} is not between 0 and 1")
    if any(not np.isfinite(t) or t <= 0 for t in targets):
        raise UsageError("a target is not a positive size")
    data, notes = _usable(read_scores(scores, by_size=True))
    largest = max(float(d.log_size.max()) for d in data)
    cut = None if holdout in (None, "none") else largest if holdout == "largest" else float(np.log(float(holdout)))  # type: ignore[arg-type]
    if cut is not None and cut > largest + 1e-9:
        raise FitError(
            f"nothing to hide: no size is {np.exp(cut):.4g} or larger (the largest is {np.exp(largest):.4g})"
        )
    settings = {"link": link, "level": level, "seed": seed, "data_sql": data_sql}
    sizes = [float(t) for t in targets] or [float(np.exp(largest))]
    parts, projections, ranks = [], [], []
    for one in data:
        part = Scored(_id(one, "target", settings), "target", by_size.build(one, link))
        parts.append(part)
        found, ranked = _project(part, sizes, settings)
        projections += found
        ranks += ranked
    if cut is not None:
        hidden = [_backtest(one, cut, settings) for one in data]
        parts += [p for p in hidden if p is not None]
        projections += [row for p in hidden if p is not None for row in _check(p, settings)]
        if not any(hidden):
            notes.append(FitWarning("no_backtest", "too few sizes to hide the largest: the projection is unchecked"))
    far = [size for size in sizes if size > 100 * np.exp(largest)]
    notes += [FitWarning("far_extrapolation", f"{s:.4g} is over 100 times the largest size seen") for s in far]
    return ScoreScaling(tuple(parts), tuple(projections), tuple(ranks), tuple(notes), settings)


def _usable(found: Sequence[ScoreData]) -> tuple[list[ScoreData], list[FitWarning]]:
    """Metrics with two sizes and three scores; the others are named."""
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


def _id(data: ScoreData, role: str, settings: dict[str, Any]) -> str:
    key = [
        data.task_id,
        data.metric,
        data.group,
        data.run_id,
        role,
        *(settings[name] for name in ("link", "level", "seed")),
    ]
    digest = hashlib.sha256(json.dumps(key).encode() + data.log_size.tobytes() + data.value.tobytes())
    return hashlib.sha256(digest.digest() + data.stderr.tobytes()).hexdigest()[:16]


def _backtest(data: ScoreData, cut: float, settings: dict[str, Any]) -> Scored | None:
    train = data.keep(data.log_size < cut - 1e-9)
    hidden = data.keep((data.log_size >= cut - 1e-9) & np.isin(data.group, sorted(set(train.group))))
    if len(train) < 3 or len(np.unique(train.log_size)) < 2 or not len(hidden):
        return None
    return Scored(_id(train, "backtest", settings), "backtest", by_size.build(train, settings["link"]), hidden)


def _project(part: Scored, sizes: Sequence[float], settings: dict[str, Any]) -> tuple[list[Projection], list[Rank]]:
    model, level = part.model, settings["level"]
    rows: list[Projection] = []
    ranks: list[Rank] = []
    for index, size in enumerate(sizes):
        mean, draws, ends = _at(part, float(np.log(size)), [settings["seed"], 1, index], level)
        sign = 1.0 if model.data.higher_is_better else -1.0
        ranked = ranking.rank(model.names, size, sign * mean, ends[0], ends[1], sign * draws, level, "score")
        best = {r.method_id: r.p_best for r in ranked}
        rows += [_row(part, g, size, mean, ends, level, p_best=best[name]) for g, name in enumerate(model.names)]
        if model.data.task_id == MEAN_TASK:
            ranks += ranked
    return rows, ranks


def _check(part: Scored, settings: dict[str, Any]) -> list[Projection]:
    assert part.hidden is not None
    model, hidden, rows = part.model, part.hidden, []
    group, known = np.array(hidden.group), np.array(model.data.group)
    for index, log_size in enumerate(np.unique(hidden.log_size)):
        mean, _, ends = _at(part, float(log_size), [settings["seed"], 2, index], settings["level"])
        for g, name in enumerate(model.names):
            here, mine = (group == name) & (hidden.log_size == log_size), known == name
            if here.any():
                last = mine & (model.data.log_size == model.data.log_size[mine].max())
                observed, carried = float(hidden.value[here].mean()), float(model.data.value[last].mean())
                size = float(np.round(np.exp(log_size)))
                rows.append(
                    _row(part, g, size, mean, ends, settings["level"], observed=observed, carry_forward=carried)
                )
    return rows


def _at(part: Scored, log_size: float, seed: list[int], level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means (methods,), draws (methods, draws) and the ends low, high, new_low, new_high (4, methods) at a size."""
    key = int(hashlib.sha256(f"{part.model.data.task_id} {part.model.data.metric}".encode()).hexdigest()[:8], 16)
    mean = part.model.point(log_size)
    draws, new = part.model.draw(np.random.default_rng([*seed, key]), log_size, DRAWS)
    tail = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(draws, tail, axis=1)
    new_low, new_high = np.quantile(new, tail, axis=1)
    low, new_low = np.minimum(low, mean), np.minimum(new_low, mean)
    return mean, draws, np.stack([low, np.maximum(high, mean), new_low, np.maximum(new_high, mean)])


def _row(part: Scored, g: int, size: float, mean: Any, ends: Any, level: float, **more: float) -> Projection:
    data = part.model.data
    low, high, new_low, new_high = (float(v) for v in ends[:, g])
    return Projection(
        part.fit_id, part.role, "score", part.model.names[g], data.task_id, data.metric, size, None, float(mean[g]),
        low, high, new_low, new_high, level, n_train_points=len(data), **more,
    )  # fmt: skip


def _parameters(model: by_size.SizeModel, method: str) -> dict[str, dict[str, Any]]:
    """The best link's parameters of one method, in units of the standardised log size."""
    fit, g = model.best, model.names.index(method)
    low, high = fit.link.bounds()
    spread = fit.covariance[g] + fit.drag[g] @ fit.shared_covariance @ fit.drag[g].T
    half = 1.645 * np.sqrt(np.diagonal(spread))
    return {
        p.name: {
            "value": float(fit.theta[g, k]), "low": float(fit.theta[g, k] - half[k]),
            "high": float(fit.theta[g, k] + half[k]), "at_bound": bool(not low[k] < fit.theta[g, k] < high[k]),
        }
        for k, p in enumerate(fit.link.parameters)
    }  # fmt: skip


def _rows(part: Scored, settings: dict[str, Any], rows: dict[str, list[dict[str, Any]]]) -> None:
    from astraios.fit.output import packages

    model, data, best = part.model, part.model.data, part.model.best
    links = [fit.link.name for fit in model.fits]
    certificate = {
        "weights": dict(zip(links, map(float, model.weights), strict=True)),
        "rolling_error": {n: e if np.isfinite(e) else None for n, e in zip(links, model.errors, strict=True)},
        "best": best.link.name, "centre": best.centre, "scale": best.scale, "noise_factor": best.noise,
        "form_common": model.common, "form_own": model.own,
    }  # fmt: skip
    rows["fit"].append(
        {
            "fit_id": part.fit_id, "created_at": datetime.now(UTC).replace(tzinfo=None), "role": part.role,
            "quantity": "score", "method_id": None, "task_id": data.task_id, "metric": data.metric,
            "law": settings["link"], "estimator": "binomial", "loss_definition": None, "split": None,
            "level": settings["level"], "seed": settings["seed"], "objective": best.objective, "n_points": len(data),
            "data_hash": hashlib.sha256(data.log_size.tobytes() + data.value.tobytes()).hexdigest(),
            "data_sql": settings["data_sql"], "certificate": json.dumps(certificate), "warnings": "[]",
            "packages": packages(),
        }
    )  # fmt: skip
    half = 1.645 * np.sqrt(np.diagonal(best.shared_covariance))
    for k, parameter in enumerate(best.link.parameters):
        value = float(best.shared[k])
        ends = {"low": value - float(half[k]), "high": value + float(half[k]), "at_bound": False}
        rows["fit_parameter"].append({"fit_id": part.fit_id, "name": parameter.name, "value": value, **ends})
    for held_out, points in ((False, data), (True, part.hidden)):
        for i in range(len(points) if points is not None else 0):
            assert points is not None
            fitted = model.point(float(points.log_size[i]))[model.names.index(points.group[i])]
            rows["fit_point"].append(
                {
                    "fit_id": part.fit_id, "run_id": points.run_id[i],
                    "n_params": float(np.round(np.exp(points.log_size[i]))), "n_tokens": None,
                    "observed": float(points.value[i]), "fitted": float(fitted),
                    "weight": 0.0 if held_out else 1.0, "held_out": held_out,
                }
            )  # fmt: skip
