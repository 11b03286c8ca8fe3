"""L = E + B / (D0 + D^beta): fine-tuning starts from a model that has learnt already (a bend before the power law)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter
from astraios.fit.laws._composed import ComposedLaw

LARGE = 600.0
"""Log beyond which a part no longer grows: such steps are never taken."""


@dataclass(frozen=True)
class Rectified(ComposedLaw):
    """Parameters E, B, beta, D0; derivatives by hand, since curves by data are long."""

    def _data(self, theta: Array, x: Array) -> tuple[Array, Array, Array]:
        """log D^beta, D0 + D^beta, and the share of D^beta in it."""
        slope = np.exp(theta[:, 2, None]) * x[0]
        part = np.exp(np.minimum(slope, LARGE))
        data = np.maximum(np.exp(np.minimum(theta[:, 3, None], LARGE)) + part, 1e-300)
        return slope, data, part / data

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        slope, data, seen = self._data(theta, x)
        finite = np.exp(np.minimum(theta[:, 1, None], LARGE)) / data
        loss = np.exp(np.minimum(theta[:, 0, None], LARGE)) + finite
        share = finite / loss
        gradient = np.empty((len(theta), 4, loss.shape[1]))
        gradient[:, 0], gradient[:, 1] = 1 - share, share
        gradient[:, 2], gradient[:, 3] = -share * seen * slope, share * (seen - 1)
        return np.log(loss), gradient

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        slope, _, seen = self._data(theta, x)
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
