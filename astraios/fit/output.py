"""An analysis, as a JSON document and as rows of the database's tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.fit.decide.ranking import Rank
from astraios.fit.notes import FitWarning
from astraios.fit.projection import Part, Projection
from astraios.fit.results import parameter_values
from astraios.fit.reuse import BEST
from astraios.records import TABLES, schema

if TYPE_CHECKING:
    import polars as pl

    from astraios.fit.observations import Ladder, Series
    from astraios.fit.scores.from_loss import ScoreModel


_TABLES = {name: table for name, table in TABLES.items() if table.of == "fit"}


@dataclass(frozen=True)
class ScalingAnalysis:
    """Everything that `fit-scaling` prints and the database keeps."""

    parts: tuple[Part, ...]
    projections: tuple[Projection, ...]
    ranking: tuple[Rank, ...]
    warnings: tuple[FitWarning, ...]
    settings: dict[str, Any]

    def of(self, role: str, quantity: str = "loss") -> list[Projection]:
        """Projections of one role and quantity."""
        return [p for p in self.projections if p.role == role and p.quantity == quantity]

    @property
    def summary(self) -> dict[str, float | int | None]:
        """Mean relative errors of the loss backtest, ours and carry-forward's, and the coverage of new runs."""
        rows = self.of("backtest")

        def mean(values: Sequence[Any]) -> float | None:
            kept = [float(v) for v in values if v is not None]
            return float(np.mean(kept)) if kept else None

        return {
            "n_backtest": len(rows),
            "mean_relative_error": mean([p.relative_error for p in rows]),
            "mean_carry_forward_error": mean([p.carry_forward_error for p in rows]),
            "coverage": mean([p.covered for p in rows]),
        }

    def to_json(self) -> dict[str, Any]:
        """The document of `fit-scaling --json`."""
        return document(self)

    def frames(self) -> dict[str, pl.DataFrame]:
        """Rows for the tables fit, fit_parameter, fit_point, fit_draw, projection and backtest."""
        return tables(self)


def document(analysis: ScalingAnalysis) -> dict[str, Any]:
    """What `fit-scaling --json` prints: one object a method, the ranking, warnings and a summary."""
    target = analysis.parts[0]
    best = int(np.argmax(target.ensemble.weights))
    fits = []
    for g, name in enumerate(target.ensemble.ladder.names):
        values = parameter_values(
            target.ensemble.fits[best], target.ensemble.draws[best][g], g, analysis.settings["level"]
        )
        fits.append(
            {
                "fit_id": target.ids[name],
                "group": name,
                "law": _law(target),
                "best_law": target.ensemble.fits[best].law.name,
                "parameters": {
                    n: {"value": p.value, "low": p.low, "high": p.high, "at_bound": p.at_bound}
                    for n, p in values.items()
                },
                "objective": float(target.ensemble.fits[best].solution.objective[g]),
                "warnings": [w.to_dict() for w in analysis.warnings if w.group == name],
                "projections": [p.to_dict() for p in analysis.projections if p.method_id == name],
            }
        )
    return {
        "fits": fits,
        "ranking": [rank.to_dict() for rank in analysis.ranking],
        "warnings": [w.to_dict() for w in analysis.warnings],
        "summary": analysis.summary,
    }


def tables(analysis: ScalingAnalysis) -> dict[str, pl.DataFrame]:
    """Rows for the tables of the database, by table, with exactly their columns."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in _TABLES}
    for part in analysis.parts:
        _loss_rows(analysis, part, rows)
        for model, link_id in zip(part.scores, part.score_ids, strict=True):
            _link_rows(analysis, part, model, link_id, rows)
    for p in analysis.projections:
        rows["projection"].append(projection_row(p))
        if p.role == "backtest":
            part = analysis.parts[-1]
            rows["backtest"].append(backtest_row(p, _law_of(part, p.quantity)))
    return frames_of(rows)


def projection_row(p: Projection) -> dict[str, Any]:
    """One row of the table projection."""
    return {name: getattr(p, name) for name in _TABLES["projection"].columns}


def backtest_row(p: Projection, law: str) -> dict[str, Any]:
    """One row of the table backtest."""
    return {name: getattr(p, name, None) for name in _TABLES["backtest"].columns} | {"law": law}


def _law(part: Part) -> str:
    return part.ensemble.fits[0].law.name if len(part.ensemble.fits) == 1 else "auto"


def _law_of(part: Part, quantity: str) -> str:
    if quantity == "loss":
        return _law(part)
    fits = part.scores[0].fits
    return fits[0].link.name if len(fits) == 1 else "auto"


def packages() -> str:
    """Versions of what took part in a fit, as JSON."""
    return json.dumps({name: version(name) for name in ("numpy", "polars")})


def _fit_row(analysis: ScalingAnalysis, part: Part, **values: Any) -> dict[str, Any]:
    settings = analysis.settings
    return {
        "created_at": datetime.now(UTC).replace(tzinfo=None), "role": part.role, "estimator": settings["estimator"],
        "loss_definition": settings["loss_definition"], "split": settings["split"], "level": settings["level"],
        "seed": settings["seed"], "data_sql": settings["data_sql"], "packages": packages(), "task_id": None,
        "metric": None, "method_id": None, **values,
    }  # fmt: skip


def _loss_rows(analysis: ScalingAnalysis, part: Part, rows: dict[str, list[dict[str, Any]]]) -> None:
    ensemble = part.ensemble
    best = int(np.argmax(ensemble.weights))
    fit, ladder = ensemble.fits[best], ensemble.ladder
    fitted = [np.exp(f.law.evaluate(f.theta, f.problems.x)[0]) for f in ensemble.fits]
    mean = np.exp(np.tensordot(ensemble.weights, np.log(np.stack(fitted)), 1))
    certificate = {
        "weights": {f.law.name: float(w) for f, w in zip(ensemble.fits, ensemble.weights, strict=True)},
        "rolling_error": {r.law.name: r.rmse if r.errors else None for r in ensemble.rollings},
        "agreeing_starts": fit.agreement, "iterations": fit.solution.iterations,
        "sigma": ensemble.sigma, "freedom": fit.freedom,
        "shared": ensemble.shared, "base_spread": ladder.bases.spread if ladder.bases else None,
        "largest": _largest(part),
    }  # fmt: skip
    for g, series in enumerate(ladder.series):
        one = part.ids[series.name]
        notes = [w.to_dict() for w in analysis.warnings if w.group in (None, series.name)]
        rows["fit"].append(
            _fit_row(
                analysis, part, fit_id=one, quantity="loss", method_id=series.name, law=_law(part),
                objective=float(fit.solution.objective[g]), n_points=len(series), data_hash=ladder.hash(),
                certificate=json.dumps(
                    {**certificate, "converged": bool(fit.solution.converged[g]),
                     "newton_decrement": float(fit.solution.decrement[g])}
                ),
                warnings=json.dumps(notes),
            )
        )  # fmt: skip
        values = parameter_values(fit, ensemble.draws[best][g], g, analysis.settings["level"])
        rows["fit_parameter"] += [
            {"fit_id": one, "name": n, "value": p.value, "low": p.low, "high": p.high, "at_bound": p.at_bound}
            for n, p in values.items()
        ]
        _point_rows(part, g, mean, rows)
        _draw_rows(part, g, one, rows)


def _largest(part: Part) -> dict[str, float]:
    """The largest value of each input that the laws use, and of their product: distances are measured from there."""
    ladder = part.ensemble.ladder
    names = list(dict.fromkeys(n for fit in part.ensemble.fits for n in fit.law.inputs))
    columns = {name: ladder.column(name) for name in names}
    if len(names) > 1:
        columns["*".join(names)] = np.sum(list(columns.values()), axis=0)
    return {name: float(np.exp(column.max())) for name, column in columns.items()}


def _point_rows(part: Part, g: int, fitted: np.ndarray, rows: dict[str, list[dict[str, Any]]]) -> None:
    ladder = part.ensemble.ladder
    series, one = ladder.series[g], part.ids[ladder.names[g]]
    tokens = series.inputs.get("n_tokens")
    for i in range(len(series)):
        rows["fit_point"].append(
            {
                "fit_id": one, "run_id": series.run_id[i] or None,
                "n_params": float(np.round(np.exp(series.inputs["n_params"][i]), 3)),
                "n_tokens": None if tokens is None else float(np.round(np.exp(tokens[i]), 3)),
                "observed": float(np.exp(series.log_loss[i] + _base(ladder, series, i))),
                "fitted": float(fitted[g, i]), "weight": 1.0,
                "held_out": False,
            }
        )  # fmt: skip
    for hidden in part.hidden.series if part.hidden else ():
        if hidden.name != series.name:
            continue
        drawn = part.ensemble.project({n: np.tile(c, (len(ladder), 1)) for n, c in hidden.inputs.items()})
        for i in range(len(hidden)):
            rows["fit_point"].append(
                {
                    "fit_id": one, "run_id": hidden.run_id[i] or None,
                    "n_params": float(np.round(np.exp(hidden.inputs["n_params"][i]), 3)),
                    "n_tokens": float(np.exp(hidden.inputs["n_tokens"][i])) if "n_tokens" in hidden.inputs else None,
                    "observed": float(np.exp(hidden.log_loss[i])), "fitted": float(np.exp(drawn.mean[g, i])),
                    "weight": 0.0, "held_out": True,
                }
            )  # fmt: skip


def _base(ladder: Ladder, series: Series, i: int) -> float:
    """What was taken from a point's log loss on account of its base."""
    return ladder.bases.deviation[series.base[i]] if ladder.bases else 0.0


def _draw_rows(part: Part, g: int, one: str, rows: dict[str, list[dict[str, Any]]]) -> None:
    ensemble, draw = part.ensemble, 0
    for fit, theta in zip(ensemble.fits, ensemble.draws, strict=True):
        best = fit.law.natural(fit.law.uncentre(fit.theta[g], fit.centre))
        rows["fit_draw"] += [
            {"fit_id": one, "draw": BEST, "law": fit.law.name, "name": name, "value": float(value)}
            for name, value in zip(fit.law.names, best, strict=True)
        ]
        natural = fit.law.natural(fit.law.uncentre(theta[g], fit.centre))
        for values in natural:
            rows["fit_draw"] += [
                {"fit_id": one, "draw": draw, "law": fit.law.name, "name": name, "value": float(value)}
                for name, value in zip(fit.law.names, values, strict=True)
            ]
            draw += 1
    columns = {"form": ensemble.form[g], "noise": ensemble.noise[g], "stretch": ensemble.stretch}
    for name, column in columns.items():
        rows["fit_draw"] += [
            {"fit_id": one, "draw": i, "law": "auto", "name": name, "value": float(v)} for i, v in enumerate(column)
        ]


def _link_rows(
    analysis: ScalingAnalysis, part: Part, model: ScoreModel, one: str, rows: dict[str, list[dict[str, Any]]]
) -> None:
    best, data = model.best, model.data
    errors = {f.link.name: e if np.isfinite(e) else None for f, e in zip(model.fits, model.errors, strict=True)}
    certificate = {
        "weights": {f.link.name: float(w) for f, w in zip(model.fits, model.weights, strict=True)},
        "rolling_error": errors, "centre": best.centre, "scale": best.scale, "dispersion": best.dispersion,
        "form": model.form, "shift": model.shift, "best": best.link.name,
    }  # fmt: skip
    notes = [w.to_dict() for w in analysis.warnings if w.group == data.task_id]
    rows["fit"].append(
        _fit_row(
            analysis, part, fit_id=one, quantity="score", task_id=data.task_id, metric=data.metric,
            law=analysis.settings["link"], estimator="binomial", objective=best.objective, n_points=len(data),
            data_hash=part.ensemble.ladder.hash(),
            certificate=json.dumps(certificate), warnings=json.dumps(notes),
        )
    )  # fmt: skip
    half = 1.645 * np.sqrt(np.diagonal(best.covariance))
    edges = best.link.bounds()
    for k, parameter in enumerate(best.link.parameters):
        value = best.theta[k]
        rows["fit_parameter"].append(
            {
                "fit_id": one, "name": parameter.name, "value": float(value), "low": float(value - half[k]),
                "high": float(value + half[k]), "at_bound": bool(value <= edges[0][k] or value >= edges[1][k]),
            }
        )  # fmt: skip
    for i in range(len(data)):
        rows["fit_point"].append(
            {
                "fit_id": one, "run_id": data.run_id[i], "n_params": float(np.round(np.exp(data.log_size[i]), 3)),
                "n_tokens": None, "observed": float(data.value[i]),
                "fitted": float(model.point(data.loss[i : i + 1], data.group[i])[0]),
                "weight": float(1 / (data.stderr[i] ** 2 + best.dispersion**2)), "held_out": False,
            }
        )  # fmt: skip


def frames_of(rows: dict[str, list[dict[str, Any]]]) -> dict[str, pl.DataFrame]:
    """Rows by table as frames with exactly the tables' columns; tables without rows are empty."""
    return {name: _frame(name, rows.get(name, [])) for name in _TABLES}


def _frame(table: str, rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    types = schema(_TABLES[table])
    return pl.DataFrame([{name: row[name] for name in types} for row in rows], schema=types)
