"""The score of guessing, where nobody says what it is: the levels that it may have, and how likely each is.

Guessing among k choices scores 1/k. Small models are seldom far above it, and never below by more than their noise.
"""

from __future__ import annotations

import re

import numpy as np

from astraios.fit.notes import FitWarning
from astraios.fit.scores.data import MEAN_TASK, ScoreData

LEVELS = {0.0: 0.3, 0.1: 0.05, 0.2: 0.15, 1 / 4: 0.25, 1 / 3: 0.1, 0.5: 0.15}
"""How common each level is among tasks."""
NOTHING = re.compile(r"(?i)^(exact[_ ]?match|em|pass|rouge|bleu|sacrebleu|chrf|meteor|ter)(\W|_|\d|l|lsum|$)")
"""Metrics of written answers: guessing scores nothing."""
REACH = 0.12
"""How far above chance the smallest models of a ladder typically are, a fraction: the rate of an exponential."""
RARE = 0.05
"""Weight below which a level is left out."""
ERRORS = 2.0
"""Standard errors by which the lowest score may lie below chance."""


def levels(data: ScoreData) -> tuple[tuple[float, float], ...]:
    """(chance, prior weight), weights summing to 1: one level where it is known.

    A task that falls below chance before it rises (an accuracy that is not normalised) may have a floor of its own.
    """
    lowest = int(np.argmin(data.value))
    edge = float(data.value[lowest] + ERRORS * data.stderr[lowest])
    if np.isfinite(data.chance):
        own = max(float(data.value[lowest] - ERRORS * data.stderr[lowest]), 0.0)
        return ((data.chance, 0.5), (own, 0.5)) if edge < data.chance else ((data.chance, 1.0),)
    if NOTHING.match(data.metric):
        return ((0.0, 1.0),)
    above = {level: edge - level for level in LEVELS if level <= edge}
    weights = {level: LEVELS[level] * float(np.exp(-far / REACH)) for level, far in above.items()}
    total = sum(weights.values())
    kept = {level: weight for level, weight in weights.items() if weight > RARE * total} or {0.0: 1.0}
    return tuple((level, weight / sum(kept.values())) for level, weight in kept.items())


def is_guessed(data: ScoreData) -> bool:
    """Whether several chance levels are weighed, since nobody knows it."""
    return bool(data.ceiling <= 1 and not np.isfinite(data.chance) and len(levels(data)) > 1)


def guessed(data: ScoreData) -> FitWarning:
    """That the chance level is unknown, and what to do."""
    how = f"say it with `astraios task {data.task_id!r} --chance X`"
    if data.task_id == MEAN_TASK:
        how = "it is known where that of each of its tasks is (`astraios task` lists them), and all means are over them"
    words = (
        f"{data.task_id}: nobody says what guessing scores on {data.metric}; several levels are weighed and the "
        f"intervals are as wide as that deserves: {how}"
    )
    return FitWarning("chance_unknown", words, data.task_id)
