"""Scores are fractions: those that a source gives per cent are told apart, and never mixed with fractions."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from astraios.records import Score, TaskRow

_LOWER = ("perplexity", "ppl", "bits_per_byte", "loss", "nll", "brier", "wer", "cer", "ter", "mse", "mae", "rmse",
          "error", "insecure", "toxicity", "calibration_error", "ece", "seconds", "latency", "regret")  # fmt: skip
_SHARE = re.compile(
    r"^(?:(?:\w+[_-])?(?:acc|accuracy|f1|em|precision|recall)(?:[_-](?:norm|bytes|macro|micro|mutual_info))?|exact_match"
    r"|exact|pass@\d+|pass_rate|mc[12]|win_?rate|solve_rate|success_rate)$",
    re.IGNORECASE,
)
"""Metrics that are shares of something."""
_GAP = 10
"""From here on a value of a metric of any name is taken for per cent where others are fractions."""
_Key = tuple[str, str]


def is_higher_better(metric: str) -> bool:
    """Whether more of a metric is better, by its name."""
    name = metric.lower().partition(",")[0]
    return not any(name == one or name.endswith((f"_{one}", f".{one}")) for one in _LOWER)


def directed(task: TaskRow, metrics: Iterable[str]) -> TaskRow:
    """A task with those of its metrics of which less is better, by their names, where nobody says which they are."""
    lower = [name for name in dict.fromkeys(metrics) if not is_higher_better(name)]
    if task.lower_is_better is not None or not lower:
        return task
    return replace(task, lower_is_better=lower, higher_is_better=task.higher_is_better and task.metric not in lower)


def plain_task(task: str) -> str:
    """The task of an evaluation that is called `task [variant]`."""
    return task.partition(" [")[0]


@dataclass
class Units:
    """In which units the scores of a source are, by task and metric."""

    percent: set[_Key] = field(default_factory=set)
    mixed: set[_Key] = field(default_factory=set)
    """In both: which is meant by 0.8 can't be told."""
    reasons: dict[str, str] = field(default_factory=dict)
    """What the user should know, by metric."""

    def taken(self, scores: Iterable[Score]) -> list[Score]:
        """The scores as fractions, without those of metrics that mix units."""
        kept = [one for one in scores if _key(one) not in self.mixed]
        return [_fraction(one) if _key(one) in self.percent else one for one in kept]


def units_of(scores: Iterable[Score]) -> Units:
    """The units of all scores of a source.

    A metric of a known share with all values above 1 and up to 100 is per cent. One with values on both sides of 1 is
    mixed; one of another name is so where the larger values are far from the fractions.
    """
    values: dict[_Key, list[float]] = {}
    for one in scores:
        if one.value is not None and math.isfinite(one.value):
            values.setdefault(_key(one), []).append(one.value)
    units = Units()
    for (task, metric), found in values.items():
        large, small = [one for one in found if 1 < one <= 100], [one for one in found if 0 < one <= 1]
        share = _SHARE.match(metric.partition(",")[0]) is not None
        if not large or max(found) > 100 or min(found) < 0 or not is_higher_better(metric):
            continue
        if share and not small:
            units.percent.add((task, metric))
            units.reasons[f"{metric} of {task}, its unit"] = f"per cent (up to {max(large):g}): stored as fractions"
        elif small and (share or min(large) >= _GAP):
            units.mixed.add((task, metric))
            units.reasons[f"{metric} of {task}"] = (
                f"fractions ({min(small):g}) and per cent ({max(large):g}) under one name: none is taken; write all "
                "of them in one unit"
            )
    return units


def _key(score: Score) -> _Key:
    return plain_task(score.task_id), score.metric


def _fraction(score: Score) -> Score:
    names = ("value", "stderr", "ci_low", "ci_high")
    parts: dict[str, Any] = {name: part / 100 for name in names if (part := getattr(score, name)) is not None}
    return replace(score, **parts)
