"""What a ladder's own rolling hold-outs say of its projections: how wide their errors are, and which way they lean.

A fit knows the uncertainty of its parameters and, from the scatter of its points, a little of how wrong its form is.
Dense and clean data have little scatter and no truer form. The rolling hold-outs show what is missing: their squared
errors against the variance that was expected there give one factor on the deviations of all projections.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from astraios.fit.curve import Array
from astraios.fit.weigh import Rolling

CALIBRATION: dict[str, Any] = tomllib.loads(files("astraios.fit").joinpath("calibration.toml").read_text())
REPEATS = 2
"""Splits that a lean must be seen in."""
BENT = 3
"""Levels of every input that a split must keep for its lean to count: with two the curve is the prior's."""


@dataclass(frozen=True)
class Scale:
    """What held-out sizes of other tables say of a kind of ladder; calibration.toml tells how they are used."""

    freedom: float
    scale: float
    factor: float
    splits: float

    @classmethod
    def of(cls, what: str) -> Scale:
        """The one that is shipped for a kind."""
        return cls(**CALIBRATION["loss"][what])


@dataclass(frozen=True)
class Lesson:
    """What rolling hold-outs teach about a ladder's projections."""

    factor: float
    """On the deviations of parameters, laws and form; 1 where they are as large as expected."""
    bias: float
    """Log loss by which projections lie too high, for each root of the distance in natural logarithms."""


def kind(inputs: Sequence[str]) -> str:
    """The kind of ladder that is calibrated for itself: sizes, data, or both."""
    if len(inputs) > 1:
        return "both"
    return "sizes" if inputs[0] == "n_params" else "data"


def learn(rollings: Sequence[Rolling], weights: Array, sigma: float, what: str, scale: Scale) -> Lesson:
    """Compare rolling errors of the weighted average with what was expected of them.

    The factor begins at what other tables of the kind ask for, worth some splits. A lean is taken off as far as it
    repeats from split to split beyond its own scatter and beyond what the parameters' uncertainty, which holds the
    prior's pull, explains; where only sizes vary all of it may be the prior's.

    Args:
        sigma: noise of one run.
        what: kind of the ladder.
        scale: where the factor begins.
    """
    splits = [_Seen.of(rollings, weights, s) for s in range(len(rollings[0].errors))]
    worth = np.array([one.worth for one in splits])
    ratio = np.array([one.square / (one.expected + sigma**2 * (1 + one.far)) for one in splits])
    factor = float(np.sqrt((scale.splits * scale.factor**2 + worth @ ratio) / (scale.splits + worth.sum())))
    return Lesson(factor, 0.0 if what == "sizes" else _lean([one for one in splits if one.levels >= BENT]))


@dataclass(frozen=True)
class _Seen:
    """One split: the average's errors there."""

    mean: float
    square: float
    expected: float
    far: float
    worth: float
    levels: int

    @classmethod
    def of(cls, rollings: Sequence[Rolling], weights: Array, s: int) -> _Seen:
        errors = np.stack([one.errors[s] for one in rollings])
        average = weights @ errors
        expected = weights @ np.stack([one.expected[s] for one in rollings]) + weights @ (errors - average) ** 2
        first = rollings[0]
        return cls(
            float(average.mean()), float(np.mean(average**2)), float(expected.mean()), first.reach[s], first.worth[s],
            first.levels[s],
        )  # fmt: skip


def _lean(splits: Sequence[_Seen]) -> float:
    if len(splits) < REPEATS:
        return 0.0
    worth, far = np.array([one.worth for one in splits]), np.array([one.far for one in splits])
    mean, root = np.array([one.mean for one in splits]), np.sqrt(far)
    scale = float(worth @ far)
    lean = float(worth @ (mean * root)) / scale
    count = float(worth.sum() ** 2 / (worth @ worth))
    scatter = float(worth @ (mean - lean * root) ** 2) / scale / max(count - 1, 1e-6)
    explained = float(worth @ np.array([one.expected for one in splits])) / scale
    return lean * max(0.0, 1 - (scatter + explained) / max(lean**2, 1e-300))
