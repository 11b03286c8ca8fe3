"""What is fitted: a language model's loss has the entropy of text as its floor, an error rate has none to speak of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import UsageError, did_you_mean
from astraios.fit.curve import Array


@dataclass(frozen=True)
class Quantity:
    """A kind of quantity that falls with size, and the prior of its floor."""

    name: str
    meaning: str
    floor: float
    """Median share of the smallest value that is irreducible."""
    width: float
    """Standard deviation of the floor's logarithm."""
    doubt: float
    """Weight of a law without a floor before an error is seen, against 1 of one with a floor."""


_TEXT = (0.6, 0.5, 0.25)
_ERROR = (0.3, 1.0, 0.5)
QUANTITIES = {
    one.name: one
    for one in (
        Quantity("nats", "loss of a language model, nats a token", *_TEXT),
        Quantity("bits_per_byte", "loss of a language model, bits a byte", *_TEXT),
        Quantity("error_rate", "share of wrong answers", *_ERROR),
        Quantity("one_minus_score", "1 - score", *_ERROR),
        Quantity("squared_error", "mean squared error and the like", *_ERROR),
    )
}
_WORDS = {
    "bits_per_byte": ("bpb", "bits"),
    "error_rate": ("error", "err", "wer", "cer"),
    "squared_error": ("mse", "rmse", "squared"),
}
SMALL = 0.6
"""A loss of text is seldom smaller; where all values are below 1 and some below this they look like error rates."""


def quantity(name: str) -> Quantity:
    """The quantity of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in QUANTITIES:
        raise UsageError(f"unknown quantity {name!r}: {did_you_mean(name, QUANTITIES)}")
    return QUANTITIES[name]


def infer(column: str, values: Sequence[float] | Array) -> str:
    """Name of the quantity that a column looks like: by its name, else by its values."""
    words = set(column.lower().replace("-", "_").split("_"))
    for name in ("squared_error", "error_rate", "bits_per_byte"):
        if words & set(_WORDS[name]):
            return name
    values = np.asarray(values, float)
    return "error_rate" if values.size and values.max() < 1 and values.min() < SMALL else "nats"
