"""Chinchilla's law with data that are repeated: each further epoch is worth less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw, smaller


@dataclass(frozen=True)
class DataConstrained(ComposedLaw):
    """Parameters E, A, alpha, B, beta, RN, RD. `n_tokens` and `unique_tokens` share one centre."""

    def formula(self, theta: Array, x: Array) -> Jet:
        a, alpha, b, beta = raw(theta, 1), raw(theta, 2).exp(), raw(theta, 3), raw(theta, 4).exp()
        shape = (len(theta), x.shape[-1])
        size, unique = Jet(np.broadcast_to(x[0], shape), {}), Jet(np.broadcast_to(x[2], shape), {})
        balance = (a + raw(theta, 2) - b - raw(theta, 4) + beta * x[2]) * (-raw(theta, 2)).exp()
        used = smaller(size, balance)
        worth_n = used + _worth((size - used).exp() - 1.0, raw(theta, 5))
        worth_d = unique + _worth(Jet(np.broadcast_to(np.exp(x[1] - x[2]) - 1.0, shape), {}), raw(theta, 6))
        return plus(raw(theta, 0), plus(a - alpha * worth_n, b - beta * worth_d))

    def centre(self, means: Array) -> Array:
        return np.array([means[0], means[1], means[1]])

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 1] += np.exp(theta[..., 2]) * centre[0]
        moved[..., 3] += np.exp(theta[..., 4]) * centre[1]
        return moved


def _worth(repeats: Jet, log_scale: Jet) -> Jet:
    """log(1 + R* (1 - exp(-R / R*)))."""
    scale = log_scale.exp()
    left = (-(repeats * (-log_scale).exp())).exp()
    return (scale - scale * left + 1.0).log()


data_constrained = DataConstrained(
    name="data_constrained",
    title="Data-constrained Chinchilla",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("A", "loss from finite size at N = 1", "amplitude", "nats"),
        Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
        Parameter("B", "loss from finite data at D = 1", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
        Parameter("RN", "excess parameters that are still worth something", "shape", low=1e-2, high=1e4),
        Parameter("RD", "epochs at which repeated data have lost 63 % of their worth", "shape", low=1e-2, high=1e4),
    ),
    inputs=("n_params", "n_tokens", "unique_tokens"),
    latex=r"L = E + A N'^{-\alpha} + B D'^{-\beta},\quad D' = U_D (1 + R^*_D (1 - e^{-R_D / R^*_D}))",
    citation="Muennighoff et al. (2023), Scaling data-constrained language models, eq. 5 and 6",
)
