"""A power law whose exponent changes at one size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class BrokenPower(ComposedLaw):
    """Parameters E, A, alpha (before the break), change (of the exponent), N1 (the break), width."""

    def formula(self, theta: Array, x: Array) -> Jet:
        width = raw(theta, 5).exp()
        beyond = ((-(raw(theta, 4) - x[0])) * (-raw(theta, 5)).exp()).softplus()
        log = raw(theta, 1) - raw(theta, 2).exp() * x[0] - raw(theta, 3) * width * beyond
        return plus(raw(theta, 0), log)

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 1] += np.exp(theta[..., 2]) * centre[0]
        moved[..., 4] += centre[0]
        return moved


broken_power = BrokenPower(
    name="broken_power",
    title="Smoothly broken power law",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N = 1 on the first branch", "amplitude", "nats"),
        Parameter("alpha", "exponent before the break", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("change", "exponent after the break, less alpha", "shape", transform="identity", low=-3, high=3),
        Parameter("N1", "size at the break", "scale", "parameters", low=1e-12, input="n_params"),
        Parameter("width", "width of the break in log size", "shape", low=0.05, high=5),
    ),
    inputs=("n_params",),
    latex=r"L(N) = E + A N^{-\alpha} \left(1 + (N / N_1)^{1/w}\right)^{-c w}",
    citation="Caballero et al. (2023), Broken neural scaling laws, eq. 1 with one break",
)
