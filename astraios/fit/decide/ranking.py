"""Which series is best at a size, and which ones can't be told apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from astraios.fit.curve import Array


@dataclass(frozen=True)
class Rank:
    """One method at one size: losses in nats, smaller is better, or scores as fractions."""

    method_id: str
    n_params: float
    mean: float
    low: float
    high: float
    p_best: float
    expected_regret: float
    """Mean loss (score) given up by choosing this method instead of the best one."""
    not_separable_from: tuple[str, ...]
    quantity: str = "loss"
    n_tokens: float | None = None
    """Tokens of the target, where they are known."""
    gap: float = 0.0
    """How much worse than the first: of losses a share of the first's, of scores a difference."""
    gap_low: float = 0.0
    gap_high: float = 0.0
    """Ends of its interval, from joint draws."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        return {**asdict(self), "not_separable_from": list(self.not_separable_from)}


def chances(losses: Array) -> Array:
    """The probability of each series to have the lowest loss, from joint draws; equal ones share it.

    Args:
        losses: (series, draws), or (series, draws, targets).

    Returns:
        (series,), or (series, targets).
    """
    lowest = losses == losses.min(0)
    found: Array = (lowest / lowest.sum(0)).mean(1)
    return found


def rank(
    names: Sequence[str],
    size: float,
    mean: Array,
    low: Array,
    high: Array,
    draws: Array,
    level: float,
    quantity: str = "loss",
    n_tokens: float | None = None,
    *,
    better: bool | None = None,
) -> list[Rank]:
    """Order methods at one size, best first.

    Args:
        mean, low, high: (methods,) losses.
        draws: (methods, draws) losses, drawn jointly, so that what methods share cancels in their differences.
        level: two methods are separable when the interval of their difference at this level leaves 0 out.
        quantity: loss, where smaller is better, or score, where larger is.
        n_tokens: tokens of the target.
        better: whether more is better; by default as the quantity is.
    """
    sign = -1.0 if (quantity != "loss" if better is None else better) else 1.0
    draws = sign * draws
    best, p_best = draws.min(0), chances(draws)
    tail = (1 - level) / 2
    found = []
    order = np.argsort(sign * mean, kind="stable")
    first = order[0]
    for g in order:
        ahead = (draws[g] < draws).mean(1)
        close = tuple(n for h, n in enumerate(names) if h != g and tail <= ahead[h] <= 1 - tail)
        regret = float((draws[g] - best).mean())
        apart = draws[g] / draws[first] - 1 if quantity == "loss" else draws[g] - draws[first]
        gap = mean[g] / mean[first] - 1 if quantity == "loss" else sign * (mean[g] - mean[first])
        gap_low, gap_high = np.quantile(apart, [tail, 1 - tail])
        found.append(
            Rank(
                names[g],
                size,
                float(mean[g]),
                float(low[g]),
                float(high[g]),
                float(p_best[g]),
                regret,
                close,
                quantity,
                n_tokens,
                float(gap),
                min(float(gap_low), float(gap)),
                max(float(gap_high), float(gap)),
            )
        )
    return found
