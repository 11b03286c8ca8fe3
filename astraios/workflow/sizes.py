"""Sizes as people write them: 16B, 350M, a rung of a ladder."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from astraios.errors import UsageError

if TYPE_CHECKING:
    import polars as pl


_SUFFIXES = {"": 1, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}


def parse_size(text: str, sizes: dict[str, int]) -> float:
    """A size such as "16B": looked up among known base models first, then read as a number of parameters.

    Raises:
        UsageError: neither.
    """
    if text.lower() in sizes:
        return float(sizes[text.lower()])
    match = re.fullmatch(r"([0-9]*\.?[0-9]+(?:e[0-9]+)?)\s*([kmbgt]?)", text.strip().replace("_", ""), re.IGNORECASE)
    if not match or float(match[1]) <= 0:
        raise UsageError(f"size {text!r}: write a number of parameters such as 16B, 350M or 1.5e9")
    return float(match[1]) * _SUFFIXES[match[2].lower()]


def next_rung(n_params: Sequence[float]) -> float:
    """The size that a ladder would have next: its mean ratio beyond the largest (twice the largest for one size)."""
    if len(n_params) < 2:
        return 2.0 * n_params[-1]
    ratio = (n_params[-1] / n_params[0]) ** (1 / (len(n_params) - 1))
    return float(f"{n_params[-1] * ratio:.3g}")


def hidden_size(text: str, n_params: Sequence[float], sizes: dict[str, int]) -> str | float | None:
    """The size that a backtest hides: "largest", none, or the measured size nearest to one that was named.

    Raises:
        UsageError: nothing of that size was measured.
    """
    if text in ("largest", "none"):
        return None if text == "none" else "largest"
    size = parse_size(text, sizes)
    nearest = min(n_params, key=lambda n: abs(n / size - 1), default=None)
    # "7B" names the rung of 7.3 billion; nothing is nearer than a tenth by accident on a ladder.
    if nearest is None or abs(nearest / size - 1) > 0.1:
        known = ", ".join(f"{int(n):,}" for n in n_params)
        raise UsageError(f"--holdout {text}: there is no run of that size; sizes: {known}")
    return float(nearest)


def runnable_sizes(n_params: Sequence[float], ladder: str | None, target: float) -> list[float]:
    """Sizes of which a run can be bought: those that were run, and what else a built-in ladder has below the target."""
    from astraios.models.ladders import LADDERS

    rungs = LADDERS.get(ladder).rungs() if ladder and ladder in LADDERS else ()
    return sorted({*n_params, *(float(r.n_params) for r in rungs if r.n_params and r.n_params < 0.99 * target)})


def known_sizes(models: pl.DataFrame, ladder: str | None) -> dict[str, int]:
    """Parameters by the names that base models go by, lower case.

    Args:
        models: columns model_id, ladder and n_params.
        ladder: whose short names count, or None for all.
    """
    from astraios.models.ladders import LADDERS

    known = {rung.name.lower(): rung.n_params for rung in LADDERS.get("starcoderbase").rungs() if rung.n_params}
    own = models.filter(models["ladder"].eq_missing(ladder)) if ladder else models
    for model_id, n_params in own.select("model_id", "n_params").iter_rows():
        known[model_id.lower()] = n_params
        known[model_id.lower().rsplit("/", 1)[-1]] = n_params
    return known
