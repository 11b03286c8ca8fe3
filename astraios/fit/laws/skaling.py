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

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        alpha, beta, power = (np.exp(theta[:, k, None]) for k in (2, 4, 5))
        size, data = -alpha * x[0], theta[:, 3, None] - beta * x[1]
        inner = np.logaddexp(size, data)
        of_data = np.exp(data - inner)
        zero = np.zeros_like(inner)
        first, second = -alpha * x[0], -beta * x[1]
        u = np.stack([zero, zero, (1 - of_data) * first, of_data, of_data * second, zero], axis=1)
        t = power[:, None] * u
        t[:, 1], t[:, 5] = 1.0, power * inner
        share = jacobian[:, 1]
        weight = curve * share
        total = (jacobian * (outer - curve)[:, None]) @ jacobian.transpose(0, 2, 1)
        total += (t * weight[:, None]) @ t.transpose(0, 2, 1)
        total[:, 0, 0] += (curve * (1 - share)).sum(1)
        deep = weight * power
        total -= (u * deep[:, None]) @ u.transpose(0, 2, 1)
        left, right = deep * (1 - of_data), deep * of_data
        total[:, 2, 2] += (left * (first**2 + first)).sum(1)
        total[:, 3, 3] += right.sum(1)
        total[:, 4, 4] += (right * (second**2 + second)).sum(1)
        cross = (right * second).sum(1)
        total[:, 3, 4] += cross
        total[:, 4, 3] += cross
        mixed = np.einsum("bkn,bn->bk", u, deep)
        total[:, 5] += mixed
        total[:, :, 5] += mixed
        total[:, 5, 5] += (deep * inner).sum(1)
        return total

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
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
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
