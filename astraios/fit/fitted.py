"""Fits of losses as they are kept and printed: parameters, certificate, points and draws of each series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.ensemble import GRID
from astraios.fit.results import parameter_values
from astraios.fit.weigh import estimator_name
from astraios.records.fitted import BEST_DRAW, DrawnColumn, Fitted, FittedPoint

if TYPE_CHECKING:
    from astraios.fit.ensemble import Ensemble
    from astraios.fit.notes import FitWarning
    from astraios.fit.observations import Ladder
    from astraios.fit.request import FitRequest


def document(ensemble: Ensemble, g: int, fit_id: str, level: float) -> dict[str, Any]:
    """One series as JSON prints it, without its warnings and projections."""
    best = int(np.argmax(ensemble.weights))
    values = parameter_values(ensemble.fits[best], ensemble.draws[best][g], g, level)
    return {
        "fit_id": fit_id,
        "group": ensemble.ladder.names[g],
        "law": _law(ensemble),
        "best_law": ensemble.fits[best].law.name,
        "parameters": {name: asdict(value) for name, value in values.items()},
        "objective": float(ensemble.fits[best].solution.objective[g]),
    }


def fitted(
    role: str, ensemble: Ensemble, ids: Mapping[str, str], hidden: Ladder | None, request: FitRequest,
    sql: str | None, warnings: Sequence[FitWarning],
) -> list[Fitted]:  # fmt: skip
    """One record a series.

    Args:
        role: target or backtest.
        ensemble: laws fitted to all series.
        ids: fit_id by series.
        hidden: points that the fits did not see.
        request: what was asked.
        sql: the query that gave the data.
        warnings: those of the whole analysis; a series keeps its own and those about all.
    """
    best = int(np.argmax(ensemble.weights))
    fit, ladder = ensemble.fits[best], ensemble.ladder
    laws = [np.exp(f.law.evaluate(f.theta, f.problems.x)[0]) for f in ensemble.fits]
    mean = np.exp(np.tensordot(ensemble.weights, np.log(np.stack(laws)), 1))
    shared = _certificate(ensemble)
    return [
        Fitted(
            fit_id=ids[series.name], role=role, quantity="loss", method_id=series.name, law=_law(ensemble),
            estimator=estimator_name(request.estimator), settings=asdict(request),
            objective=float(fit.solution.objective[g]), n_points=len(series), data_hash=ladder.hash(), data_sql=sql,
            certificate={**shared, "order": ensemble.order[g].tolist(), "order_at": GRID.tolist(),
                         "converged": bool(fit.solution.converged[g]),
                         "newton_decrement": float(fit.solution.decrement[g])},
            warnings=[w.to_dict() for w in warnings if w.group in (None, series.name)],
            parameters=parameter_values(fit, ensemble.draws[best][g], g, request.level),
            points=[*_points(ladder, g, mean), *_hidden_points(ensemble, g, hidden)],
            draws=_draws(ensemble, g),
        )
        for g, series in enumerate(ladder.series)
    ]  # fmt: skip


def _law(ensemble: Ensemble) -> str:
    return ensemble.fits[0].law.name if len(ensemble.fits) == 1 else "auto"


def _certificate(ensemble: Ensemble) -> dict[str, Any]:
    fit, bases, luck = ensemble.best, ensemble.ladder.bases, ensemble.ladder.luck
    return {
        "weights": {f.law.name: float(w) for f, w in zip(ensemble.fits, ensemble.weights, strict=True)},
        "rolling_error": {r.law.name: r.rmse if r.errors else None for r in ensemble.rollings},
        "own_shapes": [r.law.name for r in ensemble.rollings if r.alone],
        "agreeing_starts": fit.agreement, "iterations": fit.solution.iterations,
        "sigma": ensemble.sigma, "freedom": fit.freedom,
        "shared": ensemble.shared, "base_spread": bases.spread if bases else None,
        "base_noise": {"spread": luck.spread, "assumed": luck.assumed, "pull": luck.pull} if luck else None,
        "quantity": ensemble.ladder.quantity,
        "width_factor": ensemble.lesson.factor, "bias": ensemble.lesson.bias,
        "largest": _largest(ensemble),
    }  # fmt: skip


def _largest(ensemble: Ensemble) -> dict[str, float]:
    """The largest value of each input that the laws use, and of their product: distances are measured from there."""
    names = list(dict.fromkeys(n for fit in ensemble.fits for n in fit.law.inputs))
    columns = {name: ensemble.ladder.column(name) for name in names}
    if len(names) > 1:
        columns["*".join(names)] = np.sum(list(columns.values()), axis=0)
    return {name: float(np.exp(column.max())) for name, column in columns.items()}


def _points(ladder: Ladder, g: int, mean: Array) -> list[FittedPoint]:
    series, measured = ladder.series[g], ladder.measured(g)
    tokens = series.inputs.get("n_tokens")
    return [
        FittedPoint(
            series.run_id[i] or None, float(np.round(np.exp(series.inputs["n_params"][i]), 3)),
            None if tokens is None else float(np.round(np.exp(tokens[i]), 3)),
            float(np.exp(measured[i])), float(mean[g, i]), 1.0,
        )
        for i in range(len(series))
    ]  # fmt: skip


def _hidden_points(ensemble: Ensemble, g: int, hidden: Ladder | None) -> list[FittedPoint]:
    names, found = ensemble.ladder.names, []
    for series in hidden.series if hidden else ():
        if series.name != names[g]:
            continue
        drawn = ensemble.project({n: np.tile(c, (len(names), 1)) for n, c in series.inputs.items()})
        found += [
            FittedPoint(
                series.run_id[i] or None, float(np.round(np.exp(series.inputs["n_params"][i]), 3)),
                float(np.exp(series.inputs["n_tokens"][i])) if "n_tokens" in series.inputs else None,
                float(np.exp(series.log_loss[i])), float(np.exp(drawn.mean[g, i])), 0.0, held_out=True,
            )
            for i in range(len(series))
        ]  # fmt: skip
    return found


def _draws(ensemble: Ensemble, g: int) -> list[DrawnColumn]:
    """Natural parameters by law, best estimates first; then what makes draws of a projection out of them."""
    found, first = [], 0
    for fit, theta in zip(ensemble.fits, ensemble.draws, strict=True):
        names = fit.law.names
        best = fit.law.natural(fit.law.uncentre(fit.theta[g], fit.centre))
        natural = fit.law.natural(fit.law.uncentre(theta[g], fit.centre))
        found += [DrawnColumn(fit.law.name, n, BEST_DRAW, best[k : k + 1]) for k, n in enumerate(names)]
        found += [DrawnColumn(fit.law.name, n, first, natural[:, k]) for k, n in enumerate(names)]
        first += len(natural)
    columns = {"form": ensemble.form[g], "noise": ensemble.noise[g], "stretch": ensemble.stretch}
    return [*found, *(DrawnColumn("auto", name, 0, column) for name, column in columns.items())]
