"""Scaling laws, one file each. A law is registered by being a module-level `Law`.

A law is a function of logarithms: `x` holds the centred natural logarithms of its inputs, shape (inputs, points) or
(inputs, problems, points), and `theta` its parameters in their transformed (mostly logarithmic) form, shape
(problems, parameters). Everything is batched over problems, so that all starts and all resamples advance together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from astraios.errors import UsageError
from astraios.fit.curve import Array, Curve, Parameter
from astraios.registry import Registry

__all__ = ["LAWS", "Array", "Curve", "Law", "Parameter", "spread"]


@dataclass(frozen=True)
class Law(Curve):
    """A parametric form for loss. `evaluate` gives the logarithm of the loss from centred logarithms of the inputs."""

    tied: tuple[str, ...] = ()
    """Parameters that all series share outright; where there are any, the first parameter is each series' shift."""

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """Starts for one series, shape (starts, parameters), the first one the best guess.

        Args:
            x: (inputs, points).
            log_loss: (points,).
        """
        raise NotImplementedError

    def centre(self, means: Array) -> Array:
        """What is taken from each log input, given their means, (inputs,) both."""
        return means

    def uncentre(self, theta: Array, centre: Array) -> Array:
        """`theta` for inputs that are not centred, given the centre (log) that was taken from each input."""
        raise NotImplementedError

    def transformed(self, values: Mapping[str, Any]) -> Array:
        """Natural values by name to `theta`, shape (problems, parameters)."""
        columns = [np.atleast_1d(p.forward(np.asarray(values[p.name], float))) for p in self.parameters]
        return np.stack(np.broadcast_arrays(*columns), axis=-1)

    def predict(self, values: Mapping[str, Any], **inputs: Any) -> Array:
        """Loss (nats) at `inputs` (natural units, one array each) for parameters in natural units.

        Returns:
            Array (points,), or (problems, points) when the values are arrays.

        Raises:
            UsageError: an input of the law is missing.
        """
        missing = [name for name in self.inputs if inputs.get(name) is None]
        if missing:
            raise UsageError(f"the law {self.name} needs {missing[0]}: give a value for it")
        rows = [np.atleast_1d(np.log(np.asarray(inputs[name], float))) for name in self.inputs]
        theta = self.transformed(values)
        loss = np.exp(self.evaluate(theta, np.stack(np.broadcast_arrays(*rows)))[0])
        return loss if any(np.ndim(v) for v in values.values()) else loss[0]


def spread(best: Array, widths: Array, rng: np.random.Generator, starts: int) -> Array:
    """Starts around a best guess: the guess itself, then uniform draws within +-width of each coordinate."""
    centre, half = np.asarray(best, float), np.asarray(widths, float)
    points = centre + half * rng.uniform(-1, 1, (starts, centre.size))
    points[0] = centre
    return points


LAWS: Registry[Law] = Registry(Law, "astraios.fit.laws", "law", group="astraios.laws")
