"""Backtests at every size: each in turn is hidden with all larger ones, and predicted from the smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from astraios.errors import FitError
from astraios.fit.links import LINKS
from astraios.fit.output import ScalingAnalysis
from astraios.fit.scaling import analyse
from astraios.fit.score_scaling import ScoreScaling, analyse_scores

if TYPE_CHECKING:
    import polars as pl

Checked = TypeVar("Checked", ScalingAnalysis, ScoreScaling)


def backtests(
    losses: pl.DataFrame,
    scores: pl.DataFrame | None = None,
    *,
    laws: Sequence[str] = ("power", "power_offset", "auto"),
    **settings: Any,
) -> tuple[ScalingAnalysis, ...]:
    """One analysis for each law and each size that has two smaller ones at least (three where nothing is pooled).

    They hold what was hidden and predicted, and no projection to a target: these have seen only some of the sizes. The
    last law's are the newest, and so what a report shows.

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
            last = index == len(laws) - 1
            found.append(_check_alone(analyse(seen, also if last else None, law=law, holdout=float(size), **settings)))
    if not found:
        raise FitError(f"{len(sizes)} sizes: a backtest needs one size to hide and {2 if pooled else 3} to learn from")
    return tuple(found)


def score_backtests(scores: pl.DataFrame, *, links: Sequence[str] = (), **settings: Any) -> tuple[ScoreScaling, ...]:
    """One analysis of scores alone for each link and each size that has two smaller ones at least.

    Args:
        scores, settings: as for `analyse_scores`, without holdout.
        links: by default all that there are, then auto.

    Raises:
        FitError: no size has enough smaller ones.
    """
    import polars as pl

    sizes = scores["n_params"].unique().sort().to_list()
    found = [
        _check_alone(
            analyse_scores(scores.filter(pl.col("n_params") <= size), link=link, holdout=float(size), **settings)
        )
        for size in sizes[2:]
        for link in links or (*LINKS.names(), "auto")
    ]
    if not any(analysis.of("backtest") for analysis in found):
        raise FitError(f"{len(sizes)} sizes: a backtest needs one size to hide and 2 to learn from")
    return tuple(found)


def _check_alone(analysis: Checked) -> Checked:
    """The backtest of an analysis, without its projections to targets."""
    return replace(
        analysis,
        parts=tuple(part for part in analysis.parts if part.role == "backtest"),
        projections=tuple(analysis.of("backtest", "loss") + analysis.of("backtest", "score")),
        ranking=(),
    )


def table(analyses: Sequence[ScalingAnalysis | ScoreScaling]) -> pl.DataFrame:
    """Error and coverage of every law and link: rows of the table backtest, all analyses together."""
    import polars as pl

    return pl.concat([analysis.frames()["backtest"] for analysis in analyses])
