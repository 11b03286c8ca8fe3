"""The logistic curve between two levels, shared by the links that differ in what those levels are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, logit
from astraios.fit.links._index import IndexLink


@dataclass(frozen=True)
class Logistic(IndexLink):
    """level + (top - level) / (1 + exp(-(a + b z)))."""

    floored: bool = True
    """Whether the levels are chance and ceiling rather than 0 and 1."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z, low, high = (x[0], x[1], x[2]) if self.floored else (x[0], 0.0 * x[1], 0.0 * x[2] + 1.0)
        share = 1 / (1 + np.exp(-np.clip(theta[:, :1] + theta[:, 1:2] * z, -500, 500)))
        slope = (high - low) * share * (1 - share)
        return low + (high - low) * share, np.stack([slope, slope * z], axis=1)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        low, high = (chance, ceiling) if self.floored else (0.0, 1.0)
        return np.array([logit((level - low) / max(high - low, 1e-9)), 0.0]), np.array([2.0, 1.0])
