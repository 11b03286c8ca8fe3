"""Analyses of frames with options by name, as the tests write them."""

from __future__ import annotations

from typing import Any

import polars as pl

from astraios import fit, store
from astraios.fit.analysis import Analysis
from astraios.fit.backtest import backtests as _backtests
from astraios.fit.request import FitRequest
from astraios.fit.selection import Selection
from astraios.records import frame


def _request(options: dict[str, Any]) -> FitRequest:
    if "targets" in options:
        options["targets"] = tuple(options["targets"])
    return FitRequest(**options)


def analyse(losses: pl.DataFrame | None, scores: pl.DataFrame | None = None, **options: Any) -> Analysis:
    return fit.analysis.analyse(Selection(losses, scores), _request(options))


def analyse_scores(scores: pl.DataFrame, **options: Any) -> Analysis:
    return analyse(None, scores, **options)


def backtests(losses: pl.DataFrame, laws: tuple[str, ...] = (), **options: Any) -> tuple[Analysis, ...]:
    return _backtests(Selection(losses), _request(options), laws=laws)


def table(analyses: tuple[Analysis, ...]) -> pl.DataFrame:
    """Rows of the table backtest."""
    return frame([row for one in analyses for row in store.backtest_rows(one.fitted(), one.projections)])
