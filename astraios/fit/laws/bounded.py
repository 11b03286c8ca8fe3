"""L = E + A / (1 + (N / N0)^alpha): a plateau at the small end and a floor at the large one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Bounded(ComposedLaw):
    """Parameters E, A, alpha, N0."""

    def formula(self, theta: Array, x: Array) -> Jet:
        bend = (raw(theta, 2).exp() * (-(raw(theta, 3) - x[0]))).softplus()
        return plus(raw(theta, 0), raw(theta, 1) - bend)

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 3] += centre[0]
        return moved


bounded = Bounded(
    name="bounded",
    title="Bounded power law",
    parameters=(
        Parameter("E", "loss of an infinite model", "floor", "nats", low=1e-6),
        Parameter("A", "height of the plateau above E", "amplitude", "nats"),
        Parameter("alpha", "exponent of size beyond the bend", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("N0", "size at half height", "scale", "parameters", low=1e-12, input="n_params"),
    ),
    inputs=("n_params",),
    latex=r"L(N) = E + \frac{A}{1 + (N / N_0)^{\alpha}}",
    citation="Alabdulmohsin et al. (2022), Revisiting neural scaling laws in language and vision, M4 (one branch)",
)
