"""Fitting: projections, backtests, stored fits and the next runs, from a database or a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astraios import store
from astraios.errors import DataError, UsageError, did_you_mean
from astraios.workflow.correlating import record_correlations
from astraios.workflow.selecting import FitRequest, SelectedScores, check_level, select, select_scores, settings_of
from astraios.workflow.sizes import hidden_size, known_sizes, next_rung, parse_size, runnable_sizes

if TYPE_CHECKING:
    import polars as pl

    from astraios.fit.decide.design import Plan
    from astraios.fit.output import ScalingAnalysis
    from astraios.fit.reuse import StoredFit
    from astraios.fit.scores.analysis import ScoreScaling


def fit_scaling(db: Path, request: FitRequest) -> ScalingAnalysis | ScoreScaling:
    """Projections, backtests, score predictions and ranking from a database, written back to it.

    A database with scores and no losses (published tables) has its scores projected from size alone.

    Raises:
        StoreError: no database, or it holds no finished runs.
        UsageError: a size, law or split that isn't there.
        FitError: the runs do not determine what was asked.
    """
    from astraios.fit.analysis import analyse

    scores = select_scores(db, request)
    if scores is not None:
        return _fit_scores(db, request, scores)
    chosen = select(db, request)
    analysis = analyse(
        chosen.losses,
        chosen.scores,
        law=request.law,
        targets=chosen.targets(request),
        holdout=hidden_size(request.holdout, chosen.n_params, chosen.sizes),
        **settings_of(request, chosen.sql),
    )
    store.write_fits(db, analysis.frames())
    record_correlations(db)
    return analysis


def _fit_scores(db: Path, request: FitRequest, chosen: SelectedScores) -> ScoreScaling:
    from astraios.fit.scores.analysis import analyse_scores

    _check_link(request.law)
    analysis = analyse_scores(
        chosen.scores,
        link=request.law,
        targets=chosen.targets(request),
        holdout=hidden_size(request.holdout, chosen.n_params, chosen.sizes),
        level=request.level,
        seed=request.seed,
        data_sql=chosen.sql,
    )
    store.write_fits(db, analysis.frames())
    record_correlations(db)
    return analysis


def _check_link(name: str) -> None:
    from astraios.fit.links import LINKS

    if name != "auto" and name not in LINKS:
        raise UsageError(
            f"--law {name}: scores without losses follow a link, not a law: {did_you_mean(name, LINKS.names())}"
        )


def backtest(db: Path, request: FitRequest) -> pl.DataFrame:
    """Every size that has enough smaller ones, hidden in turn and predicted by several laws; written to the database.

    A database with scores and no losses has its scores predicted from size, by every link.

    Raises:
        FitError: too few sizes.
    """
    from astraios.fit.backtest import backtests, score_backtests, table

    scored = select_scores(db, request)
    if scored is not None:
        _check_link(request.law)
        more = {} if request.law == "auto" else {"links": (request.law,)}
        checked = score_backtests(
            scored.scores,
            targets=scored.targets(request),
            level=request.level,
            seed=request.seed,
            data_sql=scored.sql,
            **more,
        )
        for analysis in checked:
            store.write_fits(db, analysis.frames())
        return table(checked)
    chosen = select(db, request)
    analyses = backtests(
        chosen.losses,
        chosen.scores,
        laws=() if request.law == "auto" else (request.law,),
        targets=chosen.targets(request),
        **settings_of(request, chosen.sql),
    )
    for found in analyses:
        store.write_fits(db, found.frames())
    return table(analyses)


def reuse(db: Path, fit_id: str, targets: Sequence[str]) -> pl.DataFrame:
    """Projections of a stored fit to other sizes, from its draws alone.

    Raises:
        UsageError: no such fit.
        FitError: the fit holds no draws of a loss.
    """
    stored, sizes = load_fit(fit_id, db), _all_sizes(db)
    if not targets:
        raise UsageError("--reuse needs --target SIZE")
    return stored.predict([parse_size(text, sizes) for text in targets])


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
    return restore(fits.row(0, named=True), draws)


def _all_sizes(db: Path) -> dict[str, int]:
    return known_sizes(store.query(db, "select model_id, ladder, n_params from base_model"), None)


def design(db: Path, request: FitRequest, budget: float) -> Plan:
    """The next runs to buy within a budget, by certainty a device-hour.

    Args:
        db: the database.
        request: the first target counts.
        budget: device-hours.

    Raises:
        UsageError: the budget is not positive.
        FitError: nothing fits into it, or no run has a measured cost.
    """
    from astraios.fit.analysis import analyse
    from astraios.fit.decide.cost import cost_model
    from astraios.fit.decide.design import design as choose_runs

    if not budget > 0:
        raise UsageError(f"--budget {budget}: must be positive (device-hours)")
    chosen = select(db, request)
    target = chosen.targets(request)[0]
    analysis = analyse(
        chosen.losses, None, law=request.law, targets=[target], holdout=None, **settings_of(request, chosen.sql)
    )
    sizes = runnable_sizes(chosen.n_params, chosen.ladder, target)
    return choose_runs(analysis.parts[0].ensemble, target, budget, cost_model(chosen.costs), sizes)


def fit_file(
    path: Path, request: FitRequest, n: str, loss: str, d: str | None = None, group: str | None = None
) -> ScalingAnalysis:
    """The same from a CSV or Parquet file; nothing is written.

    Args:
        path: the file.
        request: options; sizes are read as numbers.
        n: column of parameters.
        loss: column of losses, nats.
        d: column of tokens, or None.
        group: column that tells series apart, or None for one series.

    Raises:
        DataError: no such file or column.
    """
    import polars as pl

    from astraios.fit.analysis import analyse

    check_level(request.level)
    frame = read_frame(path)
    for name in (n, loss, *(c for c in (d, group) if c)):
        if name not in frame.columns:
            raise DataError(f"{path}: no column {name!r}: {did_you_mean(name, frame.columns)}")
    losses = frame.select(
        method_id=pl.col(group).cast(pl.String) if group else pl.lit("all"),
        run_id=pl.int_range(pl.len()).cast(pl.String),
        seed=pl.lit(0, pl.Int64),
        model_id=pl.col(n).cast(pl.String),
        n_params=pl.col(n),
        n_tokens=pl.col(d) if d else pl.lit(None, pl.Int64),
        loss=pl.col(loss),
    )
    sizes = sorted(losses["n_params"].drop_nulls().unique())
    targets = [parse_size(text, {}) for text in request.targets]
    return analyse(
        losses,
        None,
        law=request.law,
        targets=targets or ([next_rung(sizes)] if sizes else []),
        holdout=hidden_size(request.holdout, sizes, {}),
        level=request.level,
        seed=request.seed,
        estimator=request.estimator,
        loss_definition=request.definition,
        split=request.split,
        data_sql=str(path.name),
        data_counts=d is not None,
    )


def read_frame(path: Path) -> pl.DataFrame:
    """A CSV or Parquet file.

    Raises:
        DataError: it isn't there or can't be read; one line.
    """
    import polars as pl

    if not path.is_file():
        raise DataError(f"no file {path}")
    try:
        return pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema_length=10_000)
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable CSV or Parquet file ({str(error).splitlines()[0]})") from None
