"""Links from loss to score, one file each. A link is registered by being a module-level `Link`.

`x` has three rows: z (minus the loss, centred and scaled by its spread in the data, so that better is larger), the
score of guessing, and the best possible score. `evaluate` gives the score itself, a fraction.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array, Curve, Parameter
from astraios.registry import Registry

__all__ = ["LINKS", "Array", "Link", "Parameter"]


@dataclass(frozen=True)
class Link(Curve):
    """A parametric form for a score as a function of loss."""

    inputs: tuple[str, ...] = ("z", "chance", "ceiling")
    anchored: bool = True
    """Whether its floor is the score of guessing."""
    far: float = 0.0
    """What it loses with distance: log weight for each spread of the losses beyond the data."""
    special: bool = False
    """Whether it is a special case of another form, the sigmoid with free ends."""

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        """Weak prior: mean and scale of each parameter, given the mean score of the data."""
        raise NotImplementedError

    def expecting(self, prior: tuple[Array, Array], x: Array, slope: float, error: float) -> tuple[Array, Array]:
        """A prior with what is known of the slope: the second parameter's mean and scale.

        Args:
            prior: mean and scale of each parameter.
            x: (3, 1), the middle of the data.
            slope, error: of the score there for each unit of z: mean and deviation.
        """
        mean, width = (part.copy() for part in prior)
        if len(mean) > 1:
            steep = max(float(self.evaluate(mean[None], x)[1][0, 0, 0]), 1e-3)
            mean[1], width[1] = slope / steep, error / steep
        return mean, width

    def starts(self, mean: Array, width: Array, slope: float) -> Array:
        """Three starts, (3, parameters): the second parameter is taken for a slope.

        Args:
            mean, width: of the prior.
            slope: correlation of z and the score.
        """
        found = np.repeat(mean[None], 3, axis=0)
        if len(mean) > 1:
            found[:, 1] = np.array([0.5, 0.1, 1.5]) * (slope or 0.1) * width[1]
        return found


def logit(share: float) -> float:
    """Log odds of a share that is kept away from 0 and 1."""
    share = min(max(share, 0.005), 0.995)
    return float(np.log(share / (1 - share)))


LINKS: Registry[Link] = Registry(Link, "astraios.fit.links", "link", group="astraios.links")
