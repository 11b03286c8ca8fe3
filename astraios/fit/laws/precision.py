"""L = E + A (N (1 - exp(-P / gamma)))^-alpha: weights of few bits make a smaller model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Precision(ComposedLaw):
    """Parameters E, A, alpha, gamma."""

    def formula(self, theta: Array, x: Array) -> Jet:
        ratio = (-raw(theta, 3) + x[1]).exp()
        slope = 1 / np.expm1(np.minimum(ratio.value, 700.0))
        worth = ratio.chain(np.log(-np.expm1(-ratio.value)), slope, -slope * (1 + slope))
        return plus(raw(theta, 0), raw(theta, 1) - raw(theta, 2).exp() * (worth + x[0]))

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 1] = moved[..., 1] + np.exp(theta[..., 2]) * centre[0]
        moved[..., 3] = moved[..., 3] + centre[1]
        return moved


precision = Precision(
    name="precision",
    title="Bits of the weights",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "reducible loss at N = 1 and full precision", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("gamma", "bits at which 63 % of the parameters count", "scale", "bits", low=1e-2, high=100,
                  input="bits"),
    ),
    inputs=("n_params", "bits"),
    latex=r"L(N, P) = E + A \left(N (1 - e^{-P / \gamma})\right)^{-\alpha}",
    citation="Kumar et al. (2024), Scaling laws for precision, arXiv:2411.04330, eq. 3 (weights alone)",
)  # fmt: skip
