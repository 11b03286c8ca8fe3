"""log L = delta + log(E + A N^-alpha): each series a constant shift of one shared curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Relative(ComposedLaw):
    """Parameters delta, E, A, alpha; the last three belong to all series together."""

    def formula(self, theta: Array, x: Array) -> Jet:
        size = Jet(np.broadcast_to(x[0], (len(theta), x.shape[-1])), {})
        return plus(raw(theta, 1), raw(theta, 2) - raw(theta, 3).exp() * size) + raw(theta, 0)

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 2] += np.exp(theta[..., 3]) * centre[0]
        return moved


relative = Relative(
    name="relative",
    title="Shared curve, shifted",
    parameters=(
        Parameter("delta", "log ratio to the shared curve", "shift", transform="identity", low=-3, high=3),
        Parameter("E", "irreducible loss of the shared curve", "floor", "nats", low=1e-6),
        Parameter("A", "its loss from finite size at N = 1", "amplitude", "nats"),
        Parameter("alpha", "its exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
    ),
    inputs=("n_params",),
    latex=r"L_m(N) = e^{\delta_m} \left(E + A N^{-\alpha}\right)",
    citation="Zhuo et al. (2024), Astraios, sec. 4 (relative losses of the methods that hold over sizes)",
    tied=("E", "A", "alpha"),
)
