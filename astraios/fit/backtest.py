"""Backtests at every size: each in turn is hidden with all larger ones, and predicted from the smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from astraios.errors import FitError
from astraios.fit.analysis import analyse, read_losses
from astraios.fit.laws import LAWS
from astraios.fit.links import LINKS
from astraios.fit.observations import Ladder
from astraios.fit.output import ScalingAnalysis
from astraios.fit.scores.analysis import ScoreScaling, analyse_scores

if TYPE_CHECKING:
    import polars as pl

Checked = TypeVar("Checked", ScalingAnalysis, ScoreScaling)


def backtests(
    losses: pl.DataFrame,
    scores: pl.DataFrame | None = None,
    *,
    laws: Sequence[str] = (),
    links: Sequence[str] = (),
    **settings: Any,
) -> tuple[ScalingAnalysis, ...]:
    """One analysis for each law, link and size that has two smaller ones at least (three where nothing is pooled).

    They hold what was hidden and predicted, and no projection to a target: these have seen only some of the sizes. The
    last law's are the newest, and so what a report shows.

    Args:
        losses, scores, settings: as for `analyse`, without holdout.
        laws: by default all whose inputs are there, then auto.
        links: from loss to score, tried behind the last law; by default all that there are, then auto.

    Raises:
        FitError: no size has enough smaller ones.
        UsageError: an unknown law or link.
    """
    import polars as pl

    ladder = read_losses(losses)
    pooled = len(ladder) > 1
    laws = laws or (*_applicable(ladder), "auto")
    links = (links or (*LINKS.names(), "auto")) if scores is not None and not scores.is_empty() else ("auto",)
    tries = [(law, "auto", False) for law in laws[:-1]] + [(laws[-1], link, True) for link in links]
    sizes = losses["n_params"].unique().sort().to_list()
    found = []
    for size in sizes[2 if pooled else 3 :]:
        seen = losses.filter(pl.col("n_params") <= size)
        also = None if scores is None else scores.filter(pl.col("n_params") <= size)
        for law, link, scored in tries:
            analysis = analyse(seen, also if scored else None, law=law, link=link, holdout=float(size), **settings)
            found.append(_check_alone(analysis))
    if not found:
        raise FitError(f"{len(sizes)} sizes: a backtest needs one size to hide and {2 if pooled else 3} to learn from")
    return tuple(found)


def _applicable(ladder: Ladder) -> list[str]:
    """Laws whose inputs a ladder has; one that ties series needs several."""
    there = set(ladder.series[0].inputs)
    return [law.name for law in LAWS if set(law.inputs) <= there and (len(ladder) > 1 or not law.tied)]


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
