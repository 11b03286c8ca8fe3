"""The score's distance from chance grows exponentially as the loss falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Parameter
from astraios.fit.links._index import IndexLink


@dataclass(frozen=True)
class Exponential(IndexLink):
    """c + exp(a + b z), held below the ceiling."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z, low, high = x[0], x[1], x[2]
        rise = np.exp(np.clip(theta[:, :1] + theta[:, 1:2] * z, -500, 50))
        free = rise < high - low
        slope = np.where(free, rise, 0.0)
        return low + np.where(free, rise, high - low), np.stack([slope, slope * z], axis=1)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        return np.array([np.log(max(level - chance, 0.01)), 0.0]), np.array([2.0, 1.0])


exponential = Exponential(
    name="exponential",
    title="Exponential in the loss",
    parameters=(
        Parameter("a", "log distance from chance at the mean loss", "shape", transform="identity", low=-30, high=5),
        Parameter("b", "log distance per spread of the loss", "shape", transform="identity", low=-30, high=30),
    ),
    latex=r"s = c + k\,e^{-\gamma L}",
    citation="Gadre et al. (2024), Language models scale reliably with over-training and on downstream tasks, eq. 5",
    far=4.0,
    special=True,
)
