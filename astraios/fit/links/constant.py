"""No dependence on the loss: the honest answer for a task that does not follow it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Link, Parameter


@dataclass(frozen=True)
class Constant(Link):
    """a."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        value = np.broadcast_to(theta[:, :1], (len(theta), x.shape[-1]))
        return value, np.ones((len(theta), 1, x.shape[-1]))

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        return np.array([level]), np.array([0.5])


constant = Constant(
    name="constant",
    title="Independent of the loss",
    parameters=(Parameter("a", "mean score", "shape", transform="identity", low=-2, high=3),),
    latex=r"s = a",
    citation="the baseline",
    anchored=False,
    far=16.0,
)
