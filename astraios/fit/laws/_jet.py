"""Values that carry their derivatives, so that a law that is not a plain sum is written as its formula.

A value knows its gradient. Second derivatives are only ever wanted as a weighted sum over points, so they are never
held: each operation knows how to hand such weights on to its operands, and what it adds by itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from astraios.fit.curve import Array

Slope = dict[int, Array]
NOTHING = 50.0
"""Log ratio beyond which the smaller of two parts is nothing; smaller numbers are slow and change no sum."""


@dataclass(frozen=True)
class Jet:
    """A value (problems, points) and its derivative by each parameter that it depends on."""

    value: Array
    slope: Slope
    bend: Callable[[Array, Array], None] | None = None
    """Adds sum_i w_i d2 value_i to matrices (problems, parameters, parameters), given these and w (problems, points);
    None where the value is linear."""

    def __add__(self, other: Jet | Array | float) -> Jet:
        if not isinstance(other, Jet):
            return Jet(self.value + other, self.slope, self.bend)

        def bend(total: Array, weight: Array) -> None:
            _hand_on(self, total, weight)
            _hand_on(other, total, weight)

        return Jet(self.value + other.value, _sum(self.slope, other.slope), bend if self.bend or other.bend else None)

    def __mul__(self, other: Jet | Array | float) -> Jet:
        if not isinstance(other, Jet):
            return self.scaled(other)
        if not self.slope:
            return other.scaled(self.value)
        if not other.slope:
            return self.scaled(other.value)

        def bend(total: Array, weight: Array) -> None:
            _hand_on(self, total, weight * other.value)
            _hand_on(other, total, weight * self.value)
            left, right, block = _products(weight, self.slope, other.slope)
            total[:, left[:, None], right] += block
            total[:, right[:, None], left] += block.transpose(0, 2, 1)

        mine, theirs = _times(self.slope, other.value), _times(other.slope, self.value)
        return Jet(self.value * other.value, _sum(mine, theirs), bend)

    def __neg__(self) -> Jet:
        return self * -1.0

    def __sub__(self, other: Jet | Array | float) -> Jet:
        return self + (-other)

    def scaled(self, factor: Array | float) -> Jet:
        """Times a factor that no parameter is in."""

        def bend(total: Array, weight: Array) -> None:
            _hand_on(self, total, weight * factor)

        return Jet(self.value * factor, _times(self.slope, factor), bend if self.bend else None)

    def chain(self, value: Array, slope: Array, second: Array) -> Jet:
        """f(self), given f, f' and f'' there."""

        def bend(total: Array, weight: Array) -> None:
            _hand_on(self, total, weight * slope)
            _add_square(total, weight * second, self.slope)

        return Jet(value, _times(self.slope, slope), bend if self.slope else None)

    def exp(self) -> Jet:
        """Exponential, held below overflow."""
        value = np.exp(np.clip(self.value, -700, 700))
        return self.chain(value, value, value)

    def log(self) -> Jet:
        """Natural logarithm."""
        inverse = 1 / self.value
        return self.chain(np.log(self.value), inverse, -inverse * inverse)

    def softplus(self) -> Jet:
        """log(1 + exp(self))."""
        small = _below(self.value)
        upper = 1 / (1 + small)
        share = np.where(self.value >= 0, upper, small * upper)
        return self.chain(np.maximum(self.value, 0) + np.log1p(small), share, small * upper * upper)

    def stack(self, shape: tuple[int, int, int]) -> tuple[Array, Array]:
        """Value and gradient (problems, parameters, points), as laws return them."""
        gradient = np.empty(shape) if len(self.slope) == shape[1] else np.zeros(shape)
        for k, s in self.slope.items():
            gradient[:, k] = s
        return np.broadcast_to(self.value, (shape[0], shape[2])), gradient


def raw(theta: Array, k: int) -> Jet:
    """Parameter k as the optimiser sees it, (problems, 1)."""
    return Jet(theta[:, k, None], {k: np.ones((len(theta), 1))})


def plus(a: Jet, b: Jet) -> Jet:
    """log(exp(a) + exp(b))."""
    gap = a.value - b.value
    small = _below(gap)
    upper = 1 / (1 + small)
    lower = small * upper
    first = np.where(gap >= 0, upper, lower)
    second = 1 - first

    def bend(total: Array, weight: Array) -> None:
        _hand_on(a, total, weight * first)
        _hand_on(b, total, weight * second)
        _add_square(total, weight * (upper * lower), _sum(a.slope, _times(b.slope, -1.0)))

    value = np.maximum(a.value, b.value) + np.log1p(small)
    return Jet(value, _sum(_times(a.slope, first), _times(b.slope, second)), bend)


def smaller(a: Jet, b: Jet) -> Jet:
    """The smaller of two."""
    first = (a.value <= b.value).astype(float)
    return a.scaled(first) + b.scaled(1 - first)


def _below(gap: Array) -> Array:
    """The smaller of two parts as a share of the larger, given the log of their ratio."""
    return np.exp(-np.minimum(np.abs(gap), NOTHING))


def _hand_on(jet: Jet, total: Array, weight: Array) -> None:
    if jet.bend is not None:
        jet.bend(total, weight if jet.value.shape[1] > 1 else weight.sum(1, keepdims=True))


def _times(slope: Slope, factor: Array | float) -> Slope:
    return {k: s * factor for k, s in slope.items()}


def _sum(left: Slope, right: Slope) -> Slope:
    both = dict(left)
    for k, s in right.items():
        both[k] = both[k] + s if k in both else s
    return both


def _add_square(total: Array, weight: Array, slope: Slope) -> None:
    """Add sum_i w_i of the slope's square."""
    rows, _, block = _products(weight, slope, slope)
    total[:, rows[:, None], rows] += block


def _products(weight: Array, left: Slope, right: Slope) -> tuple[np.ndarray, np.ndarray, Array]:
    """Parameters of two slopes, and sum_i w_i left_i right_i' (problems, left, right)."""
    first = np.stack([np.broadcast_to(s, weight.shape) for s in left.values()], axis=1)
    second = first if left is right else np.stack([np.broadcast_to(s, weight.shape) for s in right.values()], axis=1)
    return np.array(list(left)), np.array(list(right)), (first * weight[:, None]) @ second.transpose(0, 2, 1)
