"""Metrics in their own unit and direction, seen by links as shares that rise as models improve.

A fraction of which more is better is a share as it is. Others rise with better models or fall, whichever direction is
better (a change under perturbation grows with what there is to lose): of those that fall the share is what is left of
1, or the other side. What is no fraction (rewards, perplexities, seconds) is laid into the middle third of the shares:
no limit is known that it might have. Where all values are positive and the largest is several times the smallest,
logarithms are laid there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.scores.data import ScoreData

TIMES = 3.0
"""How many times the smallest value the largest is where logarithms are taken."""
SHARE = 1 / 3
"""Part of the shares that values without limits are laid into."""


@dataclass(frozen=True)
class Scale:
    """share = 0.5 + (sign * f(value) - middle) / span, f the logarithm or nothing."""

    sign: float = 1.0
    middle: float = 0.5
    span: float = 1.0
    logs: bool = False
    has_limits: bool = True
    """Whether shares below 0 and above the ceiling are no values of the metric."""

    @classmethod
    def of(cls, data: ScoreData) -> Scale:
        """The scale of a metric, by its values and ceiling, and by the way that they go."""
        fraction = is_fraction(data)
        sign = 1.0 if (fraction and data.higher_is_better) or _rises(data) else -1.0
        if fraction:
            return cls(sign, 0.5 * sign * data.ceiling if sign < 0 else 0.5)
        if limited(data):
            return cls(sign, 0.5 * sign * data.ceiling, data.ceiling)
        logs = bool(data.value.min() > 0 and data.value.max() > TIMES * data.value.min())
        values = sign * (np.log(data.value) if logs else data.value)
        reach = float(np.ptp(values)) or float(np.abs(values).max()) or 1.0
        return cls(sign, float(values.min() + values.max()) / 2, reach / SHARE, logs, has_limits=False)

    def inside(self, value: Array) -> Array:
        """Shares of values."""
        return 0.5 + (self.sign * (np.log(value) if self.logs else value) - self.middle) / self.span

    def outside(self, share: Array) -> Array:
        """Values of shares."""
        value = self.sign * ((share - 0.5) * self.span + self.middle)
        return np.exp(value) if self.logs else np.asarray(value, np.float64)

    def held(self, share: Array, ceiling: float) -> Array:
        """Shares between 0 and the ceiling, where the metric has limits."""
        return np.clip(share, 0.0, ceiling) if self.has_limits else share

    def data(self, data: ScoreData) -> ScoreData:
        """The same scores as shares."""
        if self == Scale() and data.higher_is_better:
            return data
        slope = self.span * (data.value if self.logs else 1.0)
        errors, fraction = data.stderr / slope, limited(data)
        guessing = np.isfinite(data.chance) or data.higher_is_better
        chance = float(self.inside(np.array([data.chance]))[0]) if fraction and guessing else 0.0
        items = data.items if fraction else 0.25 / float(np.median(errors)) ** 2
        top = data.ceiling if is_fraction(data) else 1.0
        return replace(
            data, value=self.inside(data.value), stderr=errors, chance=chance, items=items, ceiling=top,
            higher_is_better=True,
        )  # fmt: skip


def _rises(data: ScoreData) -> bool:
    """Whether values of a method rise as its losses fall, or its sizes grow; as the direction has it where neither."""
    better = -data.loss if np.isfinite(data.loss).all() else data.log_size
    group, along = np.array(data.group), 0.0
    for name in set(data.group):
        mine = group == name
        along += float(((better[mine] - better[mine].mean()) * (data.value[mine] - data.value[mine].mean())).sum())
    return along > 0 or (along == 0 and data.higher_is_better)


def limited(data: ScoreData) -> bool:
    """Whether values lie between 0 and a ceiling."""
    return bool(np.isfinite(data.ceiling) and data.value.min() >= 0 and data.value.max() <= data.ceiling + 1e-9)


def is_fraction(data: ScoreData) -> bool:
    """Whether values lie between 0 and the ceiling, and the ceiling is one of a fraction."""
    return limited(data) and data.ceiling <= 1
