"""What an analysis says along size, for drawing: a line for each amount of data, and who is the best where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from astraios.fit.decide.ranking import chances
from astraios.fit.targets import SAME
from astraios.records.fitted import CurvePoint, Fitted

if TYPE_CHECKING:
    from astraios.fit.analysis import Analysis
    from astraios.fit.curve import Array
    from astraios.fit.losses import LossPart

AMOUNTS = 6
"""Lines that are drawn, beside those of the targets, where more amounts of data were measured."""


def with_curves(analysis: Analysis) -> list[Fitted]:
    """The fits of an analysis as they are kept, with what is drawn of them.

    A curve over size alone, which the fit has, gets the probability of each series to be the best along it, where the
    series are ranked. Where the law takes size and data there is a line for each amount of data.
    """
    from astraios.fit.losses import LossPart

    fits = analysis.fitted()
    part = next((p for p in analysis.parts if isinstance(p, LossPart) and p.role == "target"), None)
    if part is None or not analysis.of("target", "loss"):
        return fits
    inputs = {name for fit in part.ensemble.fits for name in fit.law.inputs}
    if inputs == {"n_params", "n_tokens"}:
        lines = _lines_of_data(analysis, part)
        return [replace(fit, curve=lines.get(fit.fit_id, ())) for fit in fits]
    return _ranked(fits, part) if analysis.ranking else fits


def _ranked(fits: Sequence[Fitted], part: LossPart) -> list[Fitted]:
    """Curves over size with their chances; each has sizes of its own, at which all series are projected."""
    names, known = part.ensemble.ladder.names, {}
    place = {part.ids[name]: g for g, name in enumerate(names)}
    found = []
    for fit in fits:
        sizes = tuple(point.n_params for point in fit.curve)
        if sizes and sizes not in known:
            at = {"n_params": np.tile(np.log(sizes), (len(names), 1))}
            known[sizes] = chances(part.ensemble.project(at).draws)
        p_best = known[sizes][place[fit.fit_id]].tolist() if sizes else []
        curve = [replace(point, p_best=p) for point, p in zip(fit.curve, p_best, strict=True)]
        found.append(replace(fit, curve=curve))
    return found


def _lines_of_data(analysis: Analysis, part: LossPart) -> dict[str, list[CurvePoint]]:
    """By fit_id: from a series' smallest run to the largest target, at amounts of the runs and of the targets."""
    from astraios.fit.losses import CURVE

    ladder, level = part.ensemble.ladder, analysis.request.level
    projected = analysis.of("target", "loss")
    smallest = [float(one.inputs["n_params"].min()) for one in ladder.series]
    largest = max(float(ladder.column("n_params").max()), *(float(np.log(p.n_params)) for p in projected))
    sizes = np.linspace(min(smallest), largest, CURVE)
    wanted = [float(np.log(p.n_tokens)) for p in projected if p.n_tokens]
    lines: dict[str, list[CurvePoint]] = {part.ids[name]: [] for name in ladder.names}
    for amount in amounts(ladder.column("n_tokens"), wanted):
        at = {"n_params": np.tile(sizes, (len(ladder), 1)), "n_tokens": np.full((len(ladder), CURVE), amount)}
        drawn = part.ensemble.project(at)
        low, high = drawn.interval(level)
        new_low, new_high = drawn.interval(level, new=True)
        around = np.tile(np.exp(sizes), (len(ladder), 1))
        columns = np.stack([around, np.exp(drawn.mean), low, high, new_low, new_high, np.full_like(around, level)])
        best = chances(drawn.draws) if analysis.ranking else None
        for g, name in enumerate(ladder.names):
            for k in np.flatnonzero(sizes > smallest[g] - 1e-9):
                point = CurvePoint(*columns[:, g, k].tolist())
                p_best = None if best is None else float(best[g, k])
                lines[part.ids[name]].append(replace(point, n_tokens=float(f"{np.exp(amount):.12g}"), p_best=p_best))
    return lines


def amounts(measured: Array, wanted: Sequence[float]) -> list[float]:
    """Amounts of data (logarithms) that lines are drawn at, from the least.

    Args:
        measured: of every point; amounts within 2 % of each other are one.
        wanted: those of the targets, which are always among them.
    """
    levels = _apart(np.sort(measured).tolist())
    if len(levels) > AMOUNTS:
        spaced, known = np.linspace(levels[0], levels[-1], AMOUNTS), np.array(levels)
        levels = _apart([float(known[np.abs(known - at).argmin()]) for at in spaced])
    others = [level for level in levels if all(abs(level - one) > SAME for one in wanted)]
    return sorted([*others, *_apart(sorted(wanted))])


def _apart(ordered: Sequence[float]) -> list[float]:
    kept: list[float] = []
    for value in ordered:
        if not kept or value - kept[-1] > SAME:
            kept.append(value)
    return kept
