"""Links that depend on their parameters through a + b z alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Link


@dataclass(frozen=True)
class IndexLink(Link):
    """g(a + b z): its second derivatives are g'' times those products, and one difference along a gives g''."""

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        step = np.zeros(theta.shape[1])
        step[0] = 1e-5
        bend = (self.evaluate(theta + step, x)[1][:, 0] - self.evaluate(theta - step, x)[1][:, 0]) / 2e-5
        z = np.broadcast_to(x[0], bend.shape)
        along = outer * jacobian[:, 0] ** 2 + curve * bend
        total = np.empty((len(theta), 2, 2))
        total[:, 0, 0] = along.sum(1)
        total[:, 0, 1] = total[:, 1, 0] = (along * z).sum(1)
        total[:, 1, 1] = (along * z * z).sum(1)
        return total
