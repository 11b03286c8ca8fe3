"""What rolling hold-outs say of the members of an average: their weights, and how these change with the distance.

A member is a link with one chance level. Within the data its weight follows its errors at what was hidden. Far from
the data the form decides: flat and straight forms lose weight with every spread of the data (`Link.far`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.links import LINKS, Link
from astraios.fit.scores.chance import levels
from astraios.fit.scores.data import ScoreData

COUNTED = 40.0
"""Most errors that rolling hold-outs count for in the weights; never more than there are."""
NEAR = 0.25
"""Distance, in spreads of the data, within which the error of the form does not shrink further."""
UNTESTED = "constant"
"""The link that has no weight where nothing could be hidden, if there are others."""


SAME = 0.25
"""Sizes of different methods are one rung where their logs differ by no more."""


def rungs(log_size: Array) -> list[float]:
    """Where sizes begin that are larger than others by more than `SAME`, ascending."""
    sizes = np.unique(log_size)
    return [float(sizes[0]), *map(float, sizes[1:][np.diff(sizes) > SAME])]


@dataclass(frozen=True)
class Member:
    """A link with a chance level, and how likely it is before an error is seen."""

    link: Link
    chance: float
    prior: float


def members(data: ScoreData, only: str = "auto", special: float = 1.0) -> tuple[Member, ...]:
    """Every link, or one, with each chance level that the task may have.

    Args:
        data: one metric of one task.
        only: the link; auto takes all.
        special: how likely special cases of another form are, against 1 of those that are none.

    Raises:
        UsageError: no such link.
    """
    anything, found = (data.chance if np.isfinite(data.chance) else 0.0), []
    for link in list(LINKS) if only == "auto" else [LINKS.get(only)]:
        options = levels(data) if link.anchored else ((anything, 1.0),)
        found += [Member(link, chance, (special if link.special else 1.0) * weight) for chance, weight in options]
    return tuple(found)


def weigh(found: Sequence[Member], errors: Sequence[Sequence[Array]], noise: float) -> tuple[Array, tuple[float, ...]]:
    """Weight of each member within the data, and its rolling error (NaN where nothing could be hidden).

    Args:
        found: members.
        errors: of each member at what each split hides.
        noise: mean variance of the scores.
    """
    priors = np.array([one.prior for one in found])
    if not errors[0]:
        tested = np.array([one.link.name != UNTESTED for one in found])
        weights = priors * tested if tested.any() else priors
        return weights / weights.sum(), tuple(float("nan") for _ in found)
    score = np.array([np.mean([np.log(np.mean(e**2) + noise / 4) for e in mine]) for mine in errors])
    counted = min(COUNTED, sum(len(e) for e in errors[0]))
    weights = priors * np.exp(-0.5 * counted * (score - score.min()))
    rolled = tuple(float(np.sqrt(np.mean(np.concatenate(mine) ** 2))) for mine in errors)
    return weights / weights.sum(), rolled


def weights_at(weights: Array, found: Sequence[Member], distance: Array | float, levels: int) -> Array:
    """Weights at distances from the data: (members,) for one distance, (members, points) for several.

    Two levels say little of the slope itself, and flat forms stand in for what is not known: the costs of distance
    count from three levels on, and the more the more there are.

    Args:
        weights: within the data.
        found: members.
        distance: in spreads of the data.
        levels: different values of what the score is a function of.
    """
    costs = np.array([one.link.far for one in found]) * (1 - 1 / max(levels - 1, 1))
    far = np.asarray(distance, float)
    moved = (weights * np.exp(-far[..., None] * (costs - costs.min()))).T
    return np.asarray(moved / moved.sum(0), np.float64)


def by_link(found: Sequence[Member], values: Array) -> dict[str, float]:
    """Sums over the chance levels, by the name of the link."""
    sums: dict[str, float] = {}
    for one, value in zip(found, values, strict=True):
        sums[one.link.name] = sums.get(one.link.name, 0.0) + float(value)
    return sums


def rolled(found: Sequence[Member], weights: Array, errors: Sequence[float]) -> list[dict[str, Any]]:
    """Members as a fit keeps them: link, chance level, weight within the data, rolling error (None where unknown)."""
    return [
        {"link": one.link.name, "chance": one.chance, "weight": float(weight),
         "rolling_error": float(error) if np.isfinite(error) else None}
        for one, weight, error in zip(found, weights, errors, strict=True)
    ]  # fmt: skip
