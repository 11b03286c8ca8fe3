"""Fitting: projections, backtests, stored fits and the next runs, from a database or a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios import store
from astraios.errors import FitError, StoreError, UsageError
from astraios.fit.request import FitRequest
from astraios.records import frame
from astraios.workflow.correlating import record_correlations
from astraios.workflow.curves import with_curves
from astraios.workflow.meeting import apart
from astraios.workflow.planning import budget_lines, not_planned
from astraios.workflow.selecting import FileColumns, select, select_file
from astraios.workflow.sizes import ladder_names, runnable_sizes
from astraios.workflow.studies import since_last_fit

if TYPE_CHECKING:
    import polars as pl

    from astraios.fit.analysis import Analysis
    from astraios.fit.decide.design import Plan
    from astraios.fit.reuse import StoredFit
    from astraios.fit.selection import Selection


def fit_scaling(db: Path, request: FitRequest) -> dict[str, Any]:
    """Projections, backtests, score predictions and ranking from a database, written back to it, as JSON prints them.

    A database with scores and no losses (published tables) has its scores projected from size alone.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a size, law or split that isn't there.
        FitError: the runs do not determine what was asked.
    """
    chosen, analysis = _analysed(db, request)
    with store.reading(db) as connection:
        before = since_last_fit(connection, analysis.study.get("study_key"), request.split)
    plans = budget_lines(analysis, chosen)
    store.write_fits(db, [(with_curves(analysis), analysis.projections)], plans)
    record_correlations(db)
    return {
        **analysis.to_json(), "not_planned": not_planned(plans), "since_last_fit": _changes(before, analysis)
    }  # fmt: skip


def preview(db: Path, request: FitRequest) -> dict[str, Any]:
    """The same from a database in which nothing is recorded.

    Raises:
        StoreError, UsageError, FitError: as `fit_scaling`.
    """
    return _analysed(db, request)[1].to_json()


def _analysed(db: Path, request: FitRequest) -> tuple[Selection, Analysis]:
    """What a request chooses in a database, and its analysis; scores that meet no loss are named, in errors too."""
    from astraios.fit.analysis import analyse
    from astraios.fit.notes import FitWarning

    request.check()
    with store.reading(db) as connection:
        unmet = apart(connection)
    try:
        chosen = select(db, request)
        analysis = analyse(chosen, request)
    except (UsageError, StoreError, FitError) as error:
        raise type(error)(f"{error}; {unmet}") if unmet else error from None
    if unmet:
        analysis = replace(analysis, warnings=(*analysis.warnings, FitWarning("scores_apart", unmet)))
    return chosen, analysis


def _changes(before: pl.DataFrame, analysis: Analysis) -> list[dict[str, Any]]:
    """Projections that an earlier fit made too: then and now, and how many runs came in between."""
    now = {(p.method_id, round(p.n_params), p.n_tokens): p for p in analysis.of("target", "loss")}
    series = analysis.points.series_of if analysis.points else {}
    found = []
    for row in before.iter_rows(named=True):
        p = now.get((row["method_id"], round(row["n_params"]), row["n_tokens"]))
        runs = {run for run, name in series.items() if name == row["method_id"]}
        fresh = len(runs - set(row["run_ids"] or ()))
        if p is not None and (fresh or abs(p.mean - row["mean"]) > 1e-9):
            found.append(
                {
                    "series": p.method_id,
                    "n_params": int(p.n_params),
                    "then": row["mean"],
                    "now": p.mean,
                    "new_runs": fresh,
                }
            )
    return found


def fit_file(path: Path, request: FitRequest, columns: FileColumns) -> Analysis:
    """The same from a CSV or Parquet file; nothing is written.

    Raises:
        DataError: no such file or column.
    """
    from astraios.fit.analysis import analyse

    request.check()
    return analyse(select_file(path, columns, request), request)


def backtest(db: Path, request: FitRequest) -> pl.DataFrame:
    """Every size that has enough smaller ones, hidden in turn and predicted by several laws; written to the database.

    A database with scores and no losses has its scores predicted from size, by every link.

    Raises:
        FitError: too few sizes.
    """
    from astraios.fit.backtest import backtests

    request.check()
    kept = [(found.fitted(), found.projections) for found in backtests(select(db, request), request)]
    store.write_fits(db, kept)
    return frame([row for one in kept for row in store.backtest_rows(*one)])


def reuse(db: Path, fit_id: str, targets: Sequence[str | float]) -> pl.DataFrame:
    """Projections of a stored fit to other sizes, from its draws alone.

    Raises:
        UsageError: no such fit.
        FitError: the fit holds no draws of a loss.
    """
    stored = load_fit(fit_id, db)
    if not targets:
        raise UsageError("--reuse needs --target SIZE")
    return stored.predict(targets)


def load_fit(fit_id: str, db: str | Path | None = None) -> StoredFit:
    """A fit that was stored, to be used again without its data (`astraios.load_fit`).

    Args:
        fit_id: its id, or the beginning of it.
        db: the database; by default $ASTRAIOS_DB, else astraios.duckdb in the current folder.

    Raises:
        UsageError: no such fit, or several.
        FitError: it is not a fit of losses with draws.
    """
    from astraios.fit.reuse import restore

    path = store.database_path(db)
    with store.reading(path) as connection:
        fits = store.run_query(connection, "select * from fit where starts_with(fit_id, ?)", [fit_id])
        if len(fits) != 1:
            raise UsageError(
                f"{'no' if fits.is_empty() else len(fits)} fit {fit_id!r} in {path}: see `select * from fit`"
            )
        draws = store.run_query(connection, "select * from fit_draw where starts_with(fit_id, ?)", [fit_id])
        ladders = store.run_query(connection, "select ladder from fit_study where starts_with(fit_id, ?)", [fit_id])
        models = store.run_query(connection, "select model_id, ladder, n_params from base_model")
    names = ladder_names(models, ladders["ladder"][0] if len(ladders) else None)
    return restore(fits.row(0, named=True), draws, names)


def design(db: Path, request: FitRequest, budget: float, tell: Callable[[str], None] = lambda line: None) -> Plan:
    """The next runs to buy within a budget, by certainty a device-hour.

    Args:
        db: the database.
        request: the first target counts.
        budget: device-hours.
        tell: told what costs rest on before anything is computed.

    Raises:
        StoreError: the database holds no losses.
        UsageError: the budget is not positive.
        FitError: nothing fits into it; or no run has a measured cost, and they don't say how much data they saw.
    """
    from astraios.fit.analysis import analyse
    from astraios.fit.decide.design import design as choose_runs
    from astraios.workflow.planning import data_of_runs, hours_source, run_hours

    if not budget > 0:
        raise UsageError(f"--budget {budget}: must be positive (device-hours)")
    chosen = select(db, request)
    if chosen.losses is None or chosen.costs is None:
        raise StoreError(f"{db} holds no finished run with a loss: run `astraios collect` first")
    target = chosen.targets(request)[0]
    tell(f"costs: {hours_source(chosen)}")
    analysis = analyse(replace(chosen, scores=None), replace(request, holdout=None))
    sizes = runnable_sizes(chosen.n_params, chosen.ladder, target)
    tokens = data_of_runs(analysis)
    hours = run_hours(chosen, analysis, tokens)
    return choose_runs(analysis.ensemble, target, budget, hours, sizes, n_tokens=tokens)
