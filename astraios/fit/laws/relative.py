"""log L = delta + log(E + A N^-alpha): each series a constant shift of one shared curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Law, Parameter
from astraios.fit.laws import power_offset as curve_of


@dataclass(frozen=True)
class Relative(Law):
    """Parameters delta, E, A, alpha; the last three belong to all series together."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        value, slope = curve_of.power_offset.evaluate(theta[:, 1:], x)
        return value + theta[:, :1], np.concatenate([np.ones_like(slope[:, :1]), slope], axis=1)

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        total = (jacobian * outer[:, None, :]) @ jacobian.transpose(0, 2, 1)
        shared = curve_of.power_offset.hessian(theta[:, 1:], x, jacobian[:, 1:], 0 * outer, curve)
        total[:, 1:, 1:] += shared
        return total

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        shared = curve_of.power_offset.guess(x, log_loss, rng, starts)
        return np.hstack([np.zeros((starts, 1)), shared])

    def uncentre(self, theta: Array, centre: Array) -> Array:
        shared = curve_of.power_offset.uncentre(theta[..., 1:], centre)
        return np.concatenate([np.asarray(theta, float)[..., :1], shared], axis=-1)


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
