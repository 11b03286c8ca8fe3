"""Sizes as people write them: 16B, 350M, a rung of the ladder; which ones a request means."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.errors import FitError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SUFFIXES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
NEAR = 0.1
"""A hidden size is the measured one nearest to what was named, if it is within this share of it."""


def parse_size(text: str | float, names: Mapping[str, float] | None = None) -> float:
    """A size such as "16B": a short name of the study's own ladder, else a number of parameters.

    Args:
        text: what somebody wrote, or a number.
        names: parameters by the short names of the ladder, lower case.

    Raises:
        UsageError: neither.

    >>> parse_size("7B"), parse_size("7B", {"7b": 6_857_302_016})
    (7000000000.0, 6857302016.0)
    >>> parse_size("1e+09"), parse_size("1.5e9")
    (1000000000.0, 1500000000.0)
    """
    if not isinstance(text, str):
        if math.isfinite(text) and text > 0:
            return float(text)
        raise UsageError(f"size {text!r} is not a positive number of parameters")
    if names and text.lower() in names:
        return float(names[text.lower()])
    written = text.strip().replace("_", "")
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[+]?[0-9]+)?)\s*([kmbgt]?)", written, re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"size {text!r}: write a number of parameters such as 16B, 350M or 1.5e9")
    return float(match[1]) * _SUFFIXES[match[2].lower()]


def parse_sizes(
    sizes: float | str | Sequence[float | str] | NDArray[Any], names: Mapping[str, float] | None = None
) -> list[float]:
    """One size or several, numbers as they are and texts as `parse_size` reads them."""
    several = [sizes] if isinstance(sizes, str) or not isinstance(sizes, Iterable) else sizes
    return [parse_size(one, names) if isinstance(one, str) else float(one) for one in several]


def next_rung(n_params: Sequence[float]) -> float:
    """The size that a ladder would have next: its mean ratio beyond the largest (twice the largest for one size)."""
    if len(n_params) < 2:
        return 2.0 * n_params[-1]
    ratio = (n_params[-1] / n_params[0]) ** (1 / (len(n_params) - 1))
    return float(f"{n_params[-1] * ratio:.3g}")


def target_sizes(
    asked: Sequence[str | float], n_params: Sequence[float], names: Mapping[str, float] | None = None
) -> list[float]:
    """Sizes to project to: those asked for, else the next rung.

    Raises:
        UsageError: what was asked for is no size.
    """
    return [parse_size(one, names) for one in asked] or [next_rung(n_params)]


def hidden_size(
    asked: str | float | None, n_params: Sequence[float], names: Mapping[str, float] | None = None
) -> float | None:
    """The smallest size that a backtest hides, or None for no backtest.

    Args:
        asked: largest, none or None; a name, which means the measured size nearest to it; or a number as it is.
        n_params: sizes that were measured, ascending.
        names: parameters by the short names of the ladder, lower case.

    Raises:
        UsageError: nothing of the size that was named was measured.
        FitError: the number is beyond all sizes.
    """
    if asked is None or asked == "none":
        return None
    if asked == "largest":
        return float(n_params[-1])
    size = parse_size(asked, names)
    if not isinstance(asked, str):
        if size > n_params[-1] * (1 + 1e-9):
            raise FitError(f"nothing to hide: no size is {size:.4g} or larger (the largest is {n_params[-1]:.4g})")
        return size
    # "7B" names the rung of 7.3 billion; nothing is nearer than a tenth by accident on a ladder.
    nearest = min(n_params, key=lambda n: abs(n / size - 1), default=None)
    if nearest is None or abs(nearest / size - 1) > NEAR:
        known = ", ".join(f"{int(n):,}" for n in n_params)
        raise UsageError(f"--holdout {asked}: there is no run of that size; sizes: {known}")
    return float(nearest)
