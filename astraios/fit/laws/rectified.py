"""L = E + B / (D0 + D^beta): fine-tuning starts from a model that has learnt already (a bend before the power law)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Rectified(ComposedLaw):
    """Parameters E, B, beta, D0."""

    def formula(self, theta: Array, x: Array) -> Jet:
        data = plus(raw(theta, 3), raw(theta, 2).exp() * x[0])
        return plus(raw(theta, 0), raw(theta, 1) - data)

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        slope = np.exp(theta[:, 2, None]) * x[0]
        data = np.logaddexp(theta[:, 3, None], slope)
        seen = np.exp(slope - data)
        share = jacobian[:, 1]
        zero = np.zeros_like(seen)
        t = np.stack([zero, zero + 1, -seen * slope, seen - 1], axis=1)
        weight = curve * share
        total = (jacobian * (outer - curve)[:, None]) @ jacobian.transpose(0, 2, 1)
        total += (t * weight[:, None]) @ t.transpose(0, 2, 1)
        total[:, 0, 0] += (curve * (1 - share)).sum(1)
        bend = weight * seen * (1 - seen)
        total[:, 2, 2] -= (bend * slope**2 + weight * seen * slope).sum(1)
        total[:, 3, 3] -= bend.sum(1)
        cross = (bend * slope).sum(1)
        total[:, 2, 3] += cross
        total[:, 3, 2] += cross
        return total

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., (1, 3)] += (np.exp(theta[..., 2]) * centre[0])[..., None]
        return moved


rectified = Rectified(
    name="rectified",
    title="Rectified law",
    parameters=(
        Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
        Parameter("B", "loss from finite data", "amplitude", "nats"),
        Parameter("beta", "exponent of data", "exponent", low=5e-3, high=5, input="n_tokens"),
        Parameter("D0", "data that pretraining was worth, to the power beta", "shape", low=1e-12),
    ),
    inputs=("n_tokens",),
    latex=r"L(D) = E + \frac{B}{D_0 + D^{\beta}}",
    citation="Lin et al. (2024), Selecting large language model to fine-tune via rectified scaling law, eq. 4",
)
