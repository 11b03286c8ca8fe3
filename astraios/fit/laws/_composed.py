"""Laws written with jets: what they need beyond their formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Law, spread
from astraios.fit.laws._jet import Jet


@dataclass(frozen=True)
class ComposedLaw(Law):
    """A law whose `formula` is a jet; amplitudes, scales and exponents start where their roles suggest."""

    def formula(self, theta: Array, x: Array) -> Jet:
        """Log loss as a jet."""
        raise NotImplementedError

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        return self.formula(theta, x).stack((len(theta), theta.shape[1], x.shape[-1]))

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        total = (jacobian * outer[:, None]) @ jacobian.transpose(0, 2, 1)
        bend = self.formula(theta, x).bend
        if bend is not None:
            bend(total, curve)
        return total

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """By role: floors below the smallest loss, scales near the small end of their input."""
        has_floor = any(p.role == "floor" for p in self.parameters)
        smallest, middle = float(np.exp(log_loss.min())), float(np.exp(np.median(log_loss)))
        best, width = np.zeros(len(self.parameters)), np.full(len(self.parameters), 1.0)
        for k, p in enumerate(self.parameters):
            if p.role == "floor":
                best[k] = np.log(0.6 * smallest)
            elif p.role == "amplitude":
                best[k] = np.log(middle - 0.6 * smallest * has_floor)
            elif p.role == "scale":
                row = x[self.inputs.index(p.input)] if p.input else np.zeros(1)
                best[k], width[k] = float(np.quantile(row, 0.2)), 2.0
            elif p.role == "exponent":
                best[k] = float(p.forward(0.35 if has_floor else 0.1))
        theta = spread(best, width, rng, starts)
        for k, p in enumerate(self.parameters):
            if p.role == "floor":
                theta[1:, k] = np.log(smallest * rng.uniform(0.02, 0.98, starts - 1))
        return np.clip(theta, *self.bounds())
