"""Monotone without a formula: straight pieces between knots, never falling, flat beyond the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Link, Parameter

KNOTS = np.array([-1.5, -0.875, -0.25, 0.375, 1.0])
"""In spreads of the data around their mean; the last lies within the data of a few sizes, so that beyond is flat."""

STEEPEST = 1.0
"""Largest log rise over one piece."""


@dataclass(frozen=True)
class Isotonic(Link):
    """A level and the rise over each piece, in logs, so that no piece falls."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z = np.broadcast_to(x[0], (len(theta), x.shape[-1]))
        passed = np.clip((z[:, None] - KNOTS[:-1, None]) / np.diff(KNOTS)[:, None], 0.0, 1.0)
        slope = np.exp(np.minimum(theta[:, 1:, None], STEEPEST)) * passed
        return theta[:, :1] + slope.sum(1), np.concatenate([np.ones_like(z)[:, None], slope], axis=1)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        rise = 0.05 * (ceiling - chance)
        return np.array([level - 2 * rise, *([np.log(rise)] * 4)]), np.array([0.5, 1.0, 1.0, 1.0, 1.0])

    def expecting(self, prior: tuple[Array, Array], x: Array, slope: float, error: float) -> tuple[Array, Array]:
        mean, width = (part.copy() for part in prior)
        rise = max(slope, 1e-3) * np.diff(KNOTS)
        mean[0] += 2 * float(np.exp(mean[1])) - float(rise[:2].sum())
        mean[1:] = np.log(rise)
        return mean, width

    def starts(self, mean: Array, width: Array, slope: float) -> Array:
        return mean + np.array([0.0, 1.0, -2.0])[:, None] * (np.arange(5) > 0)


isotonic = Isotonic(
    name="isotonic",
    title="Monotone, without a formula",
    parameters=(
        Parameter("a", "score at the low end", "shape", transform="identity", low=-2, high=3),
        *(
            Parameter(f"r{k}", f"log rise over piece {k}", "shape", transform="identity", low=-12, high=STEEPEST)
            for k in range(1, 5)
        ),
    ),
    latex=r"s = a + \sum_k e^{r_k} \min(\max((z - t_k) / w, 0), 1)",
    citation="Ramsay (1988), Monotone regression splines in action (order 1)",
    anchored=False,
    far=16.0,
)
