"""Logistic in the loss between ends of its own: a floor near the chance level and a top near the ceiling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Link, Parameter, logit

FLOOR = 0.08
"""How far the floor typically lies from the chance level, either way, a fraction."""
TOP = (2.5, 1.5)
"""Mean and deviation of the log odds of how much of the room up to the ceiling can be had."""


@dataclass(frozen=True)
class FreeSigmoid(Link):
    """low + (high - low) / (1 + exp(-(a + b z))), low = c + f, high = low + (u - low) / (1 + exp(-t))."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z, chance, ceiling = x[0], x[1], x[2]
        a, b, f, t = (theta[:, k : k + 1] for k in range(4))
        share = 1 / (1 + np.exp(-np.clip(a + b * z, -500, 500)))
        part = 1 / (1 + np.exp(-t))
        room = ceiling - chance - f
        value = chance + f + room * part * share
        slope = room * part * share * (1 - share)
        return value, np.stack([slope, slope * z, 1 - part * share, room * share * part * (1 - part)], axis=1)

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        """By Gauss and Newton: near the optimum of a smooth curve the rest is small, and this is never indefinite."""
        return np.asarray((jacobian * outer[:, None, :]) @ jacobian.transpose(0, 2, 1), np.float64)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        start = logit((level - chance) / max(ceiling - chance, 1e-9))
        return np.array([start, 0.0, 0.0, TOP[0]]), np.array([2.0, 1.0, FLOOR, TOP[1]])


free_sigmoid = FreeSigmoid(
    name="free_sigmoid",
    title="Sigmoid with free ends",
    parameters=(
        Parameter("a", "log odds at the mean loss", "shape", transform="identity", low=-30, high=30),
        Parameter("b", "log odds per spread of the loss", "shape", transform="identity", low=-30, high=30),
        Parameter("f", "floor less the chance level", "shape", transform="identity", low=-0.5, high=0.3),
        Parameter("t", "log odds of the top's share of the room", "shape", transform="identity", low=-6, high=6),
    ),
    latex=r"s = f + (u - f)\,\sigma(a + b z)",
    citation="Bhagia et al. (2024), Establishing task scaling laws via compute-efficient model ladders, eq. 2",
)
