"""L = E + A (N^-a + R D^-b)^k: size and data interact."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Skaling(ComposedLaw):
    """Parameters E, A, alpha, R, beta, k."""

    def formula(self, theta: Array, x: Array) -> Jet:
        inner = plus(-(raw(theta, 2).exp() * x[0]), raw(theta, 3) - raw(theta, 4).exp() * x[1])
        return plus(raw(theta, 0), raw(theta, 1) + raw(theta, 5).exp() * inner)

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        size, data = np.exp(theta[..., 2]) * centre[0], np.exp(theta[..., 4]) * centre[1]
        moved[..., 1] += np.exp(theta[..., 5]) * size
        moved[..., 3] += data - size
        return moved


skaling = Skaling(
    name="skaling",
    title="Skaling",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-3),
        Parameter("A", "reducible loss at N = 1 and infinite data", "amplitude", "nats"),
        Parameter("alpha", "exponent of size within the sum", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("R", "weight of data against size", "shape"),
        Parameter("beta", "exponent of data within the sum", "exponent", low=5e-3, high=5, input="n_tokens"),
        Parameter("k", "power of the sum", "shape", low=0.05, high=20),
    ),
    inputs=("n_params", "n_tokens"),
    latex=r"L(N, D) = E + A \left(N^{-\alpha} + R D^{-\beta}\right)^{k}",
    citation="Videau et al. (2026)",
)
