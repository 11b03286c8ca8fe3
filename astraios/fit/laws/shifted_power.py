"""L = E + A (N + N0)^-alpha: a power law that bends at the small end."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class ShiftedPower(ComposedLaw):
    """Parameters E, A, alpha, N0."""

    def formula(self, theta: Array, x: Array) -> Jet:
        size = plus(raw(theta, 3), Jet(np.broadcast_to(x[0], (len(theta), x.shape[-1])), {}))
        return plus(raw(theta, 0), raw(theta, 1) - raw(theta, 2).exp() * size)

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 1] += np.exp(theta[..., 2]) * centre[0]
        moved[..., 3] += centre[0]
        return moved


shifted_power = ShiftedPower(
    name="shifted_power",
    title="Shifted power law",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N + N0 = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("N0", "size below which the curve flattens", "scale", "parameters", low=1e-12, input="n_params"),
    ),
    inputs=("n_params",),
    latex=r"L(N) = E + A (N + N_0)^{-\alpha}",
    citation="Zhai et al. (2022), Scaling vision transformers, eq. 1",
)
