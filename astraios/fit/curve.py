"""What laws and links share: parameters with transforms and bounds, and derivatives batched over problems."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law: its bounds are in natural units, its transform is what the optimiser sees."""

    name: str
    meaning: str
    role: str
    """floor, amplitude, exponent, scale or shape: priors and warnings go by it."""
    unit: str = "1"
    transform: str = "log"
    """log or identity."""
    low: float = 1e-300
    high: float = 1e300
    input: str | None = None
    """The input whose power this parameter governs, for exponents and scales."""

    def forward(self, value: Array | float) -> Array:
        """Natural to transformed."""
        return np.log(value) if self.transform == "log" else np.asarray(value, float)

    def backward(self, value: Array | float) -> Array:
        """Transformed to natural."""
        return np.exp(value) if self.transform == "log" else np.asarray(value, float)


@dataclass(frozen=True)
class Curve:
    """A parametric function of `x` (inputs, points) or (inputs, problems, points), batched over problems."""

    name: str
    title: str
    parameters: tuple[Parameter, ...]
    latex: str
    citation: str
    inputs: tuple[str, ...]
    """Columns that it needs, in the order of the rows of `x`."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters, in the order of `theta`."""
        return tuple(parameter.name for parameter in self.parameters)

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        """Value (problems, points) and its gradient by the transformed parameters (problems, parameters, points)."""
        raise NotImplementedError

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        """sum_i outer_i J_i J_i' + sum_i curve_i d2f_i, shape (problems, parameters, parameters).

        The second sum is taken from differences of the analytic gradient, unless a law knows better.
        """
        total = (jacobian * outer[:, None, :]) @ jacobian.transpose(0, 2, 1)
        second = np.empty_like(total)
        for k in range(theta.shape[1]):
            step = 1e-5 * np.maximum(1.0, np.abs(theta[:, k]))
            up, down = theta.copy(), theta.copy()
            up[:, k] += step
            down[:, k] -= step
            change = self.evaluate(up, x)[1] - self.evaluate(down, x)[1]
            second[:, k] = np.einsum("bkn,bn->bk", change, curve) / (2 * step)[:, None]
        return total + 0.5 * (second + second.transpose(0, 2, 1))

    def bounds(self) -> tuple[Array, Array]:
        """Transformed lower and upper bounds, (parameters,) each."""
        low = np.array([float(p.forward(p.low)) for p in self.parameters])
        high = np.array([float(p.forward(p.high)) for p in self.parameters])
        return low, high

    def natural(self, theta: Array) -> Array:
        """Transformed to natural values, same shape (last axis: parameters)."""
        return np.stack([p.backward(theta[..., k]) for k, p in enumerate(self.parameters)], axis=-1)
