"""The score of guessing, where nobody says what it is: the levels that it may have, and how likely each is.

Guessing among k choices scores 1/k. Small models are seldom far above it, and never below by more than their noise.
"""

from __future__ import annotations

import re

import numpy as np

from astraios.fit.scores.data import ScoreData

LEVELS = {0.0: 0.3, 0.1: 0.05, 0.2: 0.15, 1 / 4: 0.25, 1 / 3: 0.1, 0.5: 0.15}
"""How common each level is among tasks."""
NOTHING = re.compile(r"(?i)^(exact[_ ]?match|em|pass|rouge|bleu|sacrebleu|chrf|meteor|ter)(\W|_|\d|l|lsum|$)")
"""Metrics of written answers: guessing scores nothing."""
REACH = 0.12
"""How far above chance the smallest models of a ladder typically are, a fraction: the rate of an exponential."""
ERRORS = 2.0
"""Standard errors by which the lowest score may lie below chance."""


def levels(data: ScoreData) -> tuple[tuple[float, float], ...]:
    """(chance, prior weight), weights summing to 1: one level where it is known."""
    if np.isfinite(data.chance):
        return ((data.chance, 1.0),)
    if NOTHING.match(data.metric):
        return ((0.0, 1.0),)
    lowest = int(np.argmin(data.value))
    edge = float(data.value[lowest] + ERRORS * data.stderr[lowest])
    above = {level: edge - level for level in LEVELS if level <= edge}
    weights = {level: LEVELS[level] * float(np.exp(-far / REACH)) for level, far in above.items()}
    total = sum(weights.values())
    if not total:
        return ((0.0, 1.0),)
    return tuple((level, weight / total) for level, weight in weights.items() if weight > 0.02 * total)
