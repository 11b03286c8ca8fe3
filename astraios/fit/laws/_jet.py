"""Values that carry their gradient, so that a law that is not a plain sum is written as its formula."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array


@dataclass(frozen=True)
class Jet:
    """A value (problems, points) and its derivative by each parameter that it depends on."""

    value: Array
    slope: dict[int, Array]

    def __add__(self, other: Jet | Array | float) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.slope)
        slope = dict(self.slope)
        for k, s in other.slope.items():
            slope[k] = slope[k] + s if k in slope else s
        return Jet(self.value + other.value, slope)

    def __mul__(self, other: Jet | Array | float) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value * other, {k: s * other for k, s in self.slope.items()})
        return self.scaled(other.value) + Jet(0.0 * self.value, {k: s * self.value for k, s in other.slope.items()})

    def scaled(self, factor: Array) -> Jet:
        """Times a factor that is not differentiated."""
        return Jet(self.value * factor, {k: s * factor for k, s in self.slope.items()})

    def __neg__(self) -> Jet:
        return self * -1.0

    def __sub__(self, other: Jet | Array | float) -> Jet:
        return self + (-other)

    def chain(self, value: Array, slope: Array) -> Jet:
        """f(self), given f and f' there."""
        return Jet(value, {k: s * slope for k, s in self.slope.items()})

    def exp(self) -> Jet:
        """Exponential, held below overflow."""
        value = np.exp(np.clip(self.value, -700, 700))
        return self.chain(value, value)

    def log(self) -> Jet:
        """Natural logarithm."""
        return self.chain(np.log(self.value), 1 / self.value)

    def softplus(self) -> Jet:
        """log(1 + exp(self))."""
        half = np.clip(self.value, -700, 700)
        return self.chain(np.logaddexp(0, half), 1 / (1 + np.exp(-half)))

    def stack(self, shape: tuple[int, int, int]) -> tuple[Array, Array]:
        """Value and gradient (problems, parameters, points), as laws return them."""
        gradient = np.zeros(shape)
        for k, s in self.slope.items():
            gradient[:, k] = s
        return np.broadcast_to(self.value, (shape[0], shape[2])), gradient


def raw(theta: Array, k: int) -> Jet:
    """Parameter k as the optimiser sees it, (problems, 1)."""
    return Jet(theta[:, k, None], {k: np.ones((len(theta), 1))})


def plus(a: Jet, b: Jet) -> Jet:
    """log(exp(a) + exp(b))."""
    total = np.logaddexp(a.value, b.value)
    shares = (a.scaled(np.exp(a.value - total)) + b.scaled(np.exp(b.value - total))).slope
    return Jet(total, shares)


def smaller(a: Jet, b: Jet) -> Jet:
    """The smaller of two."""
    first = (a.value <= b.value).astype(float)
    return a.scaled(first) + b.scaled(1 - first)
