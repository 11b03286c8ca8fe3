"""Backtests at every size: each in turn is hidden with all larger ones, and predicted from the smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from astraios.errors import FitError
from astraios.fit.output import ScalingAnalysis
from astraios.fit.scaling import analyse

if TYPE_CHECKING:
    import polars as pl


def backtests(
    losses: pl.DataFrame,
    scores: pl.DataFrame | None = None,
    *,
    laws: Sequence[str] = ("auto", "power_offset", "power"),
    **settings: Any,
) -> tuple[ScalingAnalysis, ...]:
    """One analysis for each law and each size that has two smaller ones at least (three where nothing is pooled).

    Args:
        losses, scores, settings: as for `analyse`, without holdout.

    Raises:
        FitError: no size has enough smaller ones.
    """
    import polars as pl

    sizes = losses["n_params"].unique().sort().to_list()
    pooled = losses["method_id"].n_unique() > 1
    found = []
    for size in sizes[2 if pooled else 3 :]:
        seen = losses.filter(pl.col("n_params") <= size)
        also = None if scores is None else scores.filter(pl.col("n_params") <= size)
        for index, law in enumerate(laws):
            found.append(analyse(seen, also if index == 0 else None, law=law, holdout=float(size), **settings))
    if not found:
        raise FitError(f"{len(sizes)} sizes: a backtest needs one size to hide and {2 if pooled else 3} to learn from")
    return tuple(found)


def table(analyses: Sequence[ScalingAnalysis]) -> pl.DataFrame:
    """Error and coverage of every law and link: rows of the table backtest, all analyses together."""
    import polars as pl

    return pl.concat([analysis.frames()["backtest"] for analysis in analyses])
