"""Backtests at every size: each in turn is hidden with all larger ones, and predicted from the smaller ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from astraios.errors import FitError
from astraios.fit.analysis import Analysis, analyse
from astraios.fit.laws import LAWS
from astraios.fit.links import LINKS
from astraios.fit.losses import read_losses
from astraios.fit.observations import Ladder
from astraios.fit.request import FitRequest
from astraios.fit.selection import Selection

if TYPE_CHECKING:
    import polars as pl


def backtests(
    selection: Selection, request: FitRequest | None = None, *, laws: Sequence[str] = (), links: Sequence[str] = ()
) -> tuple[Analysis, ...]:
    """One analysis for each law, link and size that has two smaller ones at least (three where nothing is pooled).

    They hold what was hidden and predicted, and no projection to a target: these have seen only some of the sizes. The
    last law's are the newest, and so what a report shows.

    Args:
        selection: rows of one study.
        request: what is asked; a law in it is the only one. Its holdout does not count.
        laws: by default all whose inputs are there, then auto; where there are no losses, no laws but links.
        links: from loss (or size) to score, tried behind the last law; by default all that there are, then auto.

    Raises:
        FitError: no size has enough smaller ones.
        UsageError: an unknown law or link.
    """
    request = request or FitRequest()
    sizes = selection.n_params
    request = replace(request, targets=tuple(selection.targets(request)) if sizes else ())
    if request.law != "auto":
        laws = (request.law,)
    if selection.losses is None:
        least, asked = 2, [(law, "auto", True) for law in laws or links or (*LINKS.names(), "auto")]
    else:
        ladder = read_losses(selection, request.roles).ladder
        least, asked = 2 if len(ladder) > 1 else 3, _laws_and_links(selection, ladder, laws, links)
    found = [
        _check_alone(
            analyse(_up_to(selection, size, scored), replace(request, law=law, link=link, holdout=float(size)))
        )
        for size in sizes[least:]
        for law, link, scored in asked
    ]
    if not any(analysis.of("backtest") for analysis in found):
        raise FitError(f"{len(sizes)} sizes: a backtest needs one size to hide and {least} to learn from")
    return tuple(found)


def _laws_and_links(
    selection: Selection, ladder: Ladder, laws: Sequence[str], links: Sequence[str]
) -> list[tuple[str, str, bool]]:
    """Each law alone but the last, and that one with every link: (law, link, whether scores are predicted)."""
    laws = laws or (*_applicable(ladder), "auto")
    scored = selection.scores is not None and not selection.scores.is_empty()
    links = (links or (*LINKS.names(), "auto")) if scored else ("auto",)
    return [(law, "auto", False) for law in laws[:-1]] + [(laws[-1], link, True) for link in links]


def _applicable(ladder: Ladder) -> list[str]:
    """Laws whose inputs a ladder has; one that ties series needs several."""
    there = set(ladder.series[0].inputs)
    return [law.name for law in LAWS if set(law.inputs) <= there and (len(ladder) > 1 or not law.tied)]


def _up_to(selection: Selection, size: float, scored: bool) -> Selection:
    """The rows up to a size."""
    return replace(
        selection,
        losses=_below(selection.losses, size),
        scores=_below(selection.scores, size) if scored else None,
    )


def _below(rows: pl.DataFrame | None, size: float) -> pl.DataFrame | None:
    import polars as pl

    return None if rows is None else rows.filter(pl.col("n_params") <= size)


def _check_alone(analysis: Analysis) -> Analysis:
    """The backtest of an analysis, without its projections to targets."""
    return replace(
        analysis,
        parts=tuple(part for part in analysis.parts if part.role == "backtest"),
        projections=tuple(p for quantity in ("loss", "score") for p in analysis.of("backtest", quantity)),
        ranking=(),
    )
