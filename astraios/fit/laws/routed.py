"""log L = A - b log N - c log E + d log N log E: routed (mixture-of-experts) models."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter, spread
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, raw


@dataclass(frozen=True)
class Routed(ComposedLaw):
    """Bilinear in the logs of size and experts."""

    def formula(self, theta: Array, x: Array) -> Jet:
        return raw(theta, 0) - raw(theta, 1) * x[0] - raw(theta, 2) * x[1] + raw(theta, 3) * (x[0] * x[1])

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """Exponents of published models."""
        best = np.array([float(np.median(log_loss)), 0.08, 0.04, 0.005])
        return np.clip(spread(best, np.array([0.3, 0.06, 0.04, 0.01]), rng, starts), *self.bounds())

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        a, b, c, d = np.moveaxis(moved.copy(), -1, 0)
        size, experts = centre
        moved[..., 0] = a + b * size + c * experts + d * size * experts
        moved[..., 1], moved[..., 2] = b + d * experts, c + d * size
        return moved


routed = Routed(
    name="routed",
    title="Routed language models",
    parameters=(
        Parameter("A", "loss at N = E = 1", "amplitude", "nats"),
        Parameter("b", "exponent of size", "exponent", transform="identity", low=-2, high=5, input="n_params"),
        Parameter("c", "exponent of experts", "exponent", transform="identity", low=-2, high=5, input="n_experts"),
        Parameter("d", "how much less experts are worth as size grows", "mixing", transform="identity", low=-1, high=1),
    ),
    inputs=("n_params", "n_experts"),
    latex=r"\log L = A - b \log N - c \log E + d \log N \log E",
    citation="Clark et al. (2022), Unified scaling laws for routed language models, arXiv:2202.01169, eq. 1",
)
