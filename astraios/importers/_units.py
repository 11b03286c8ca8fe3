"""Scores are fractions: those that a source gives per cent are told apart, and never mixed with fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from astraios.importers._evaluations import is_higher_better, plain_task
from astraios.importers._runs import Found, Skipped
from astraios.records import Score

_SHARE = re.compile(
    r"^(?:(?:\w+[_-])?(?:acc|accuracy|f1|em|precision|recall)(?:[_-](?:norm|bytes|macro|micro|mutual_info))?|exact_match"
    r"|exact|pass@\d+|pass_rate|mc[12]|win_?rate|solve_rate|success_rate)$",
    re.IGNORECASE,
)
"""Metrics that are shares of something."""
_GAP = 10
"""From here on a value of a metric of any name is taken for per cent where others are fractions."""


def in_fractions(runs: Iterable[Found], skipped: Skipped) -> None:
    """Turns scores that are given per cent into fractions; where a metric mixes both, none of its scores is taken.

    A metric of a known share with all values above 1 and up to 100 is per cent. One with values on both sides of 1 is
    mixed: 0.8 may be either.
    """
    runs = list(runs)
    values: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        for one in run.scores:
            if one.value is not None and math.isfinite(one.value):
                values.setdefault(_key(one), []).append(one.value)
    percent, mixed = set(), set()
    for (task, metric), found in values.items():
        large, small = [one for one in found if 1 < one <= 100], [one for one in found if 0 < one <= 1]
        share = _SHARE.match(metric.partition(",")[0]) is not None
        if not large or max(found) > 100 or min(found) < 0 or not is_higher_better(metric):
            continue
        if share and not small:
            percent.add((task, metric))
            skipped.add(f"{metric} of {task}, its unit", f"per cent (up to {max(large):g}): stored as fractions")
        elif small and (share or min(large) >= _GAP):
            mixed.add((task, metric))
            skipped.add(
                f"{metric} of {task}",
                f"fractions ({min(small):g}) and per cent ({max(large):g}) under one name: none is taken; write all "
                "of them in one unit",
            )
    for run in runs:
        run.scores = [_fraction(one) if _key(one) in percent else one for one in run.scores if _key(one) not in mixed]
        left = {(one.task_id, one.n_shot) for one in run.scores}
        if mixed:
            run.evaluations = [one for one in run.evaluations if (one.task_id, one.n_shot) in left]
            run.samples = [one for one in run.samples if (one.task_id, one.n_shot) in left]


def _key(score: Score) -> tuple[str, str]:
    return plain_task(score.task_id), score.metric


def _fraction(score: Score) -> Score:
    names = ("value", "stderr", "ci_low", "ci_high")
    parts: dict[str, Any] = {name: part / 100 for name in names if (part := getattr(score, name)) is not None}
    return replace(score, **parts)
