"""What a budget buys: cost of a token at each size, and the ways in which size and data may share a budget."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError
from astraios.fit.curve import Array
from astraios.fit.targets import FLOPS_PER_TOKEN, number


@dataclass(frozen=True)
class Cost:
    """Cost of training on one token as a power of the size: exp(level) N^slope, in `unit`."""

    unit: str
    """flops, device_hours or money."""
    level: float
    slope: float
    source: str
    """Where it comes from, in words."""

    def log_budget(self, size: Array, data: Array) -> Array:
        """Log cost at log sizes and log tokens."""
        return self.level + self.slope * size + data

    def times(self, factor: float, unit: str, source: str) -> Cost:
        """The same in another unit, of which one of this unit is worth `factor`."""
        return Cost(unit, self.level + float(np.log(factor)), self.slope, source)


SIX_N_D = Cost("flops", float(np.log(FLOPS_PER_TOKEN)), 1.0, "6 N D")
"""Training FLOPs of a dense transformer (Kaplan et al., 2020, arXiv:2001.08361)."""


def measured(unit: str, size: Array, per_token: Array, source: str) -> Cost:
    """A power of the size through measured costs of a token, its exponent kept between 0 and 1.5.

    Args:
        unit: as in `Cost`.
        size: log parameters of the runs, (runs,).
        per_token: log cost of one of their tokens, (runs,).
        source: where the costs come from, in words.
    """
    spread = float(((size - size.mean()) ** 2).sum())
    slope = float(((size - size.mean()) * (per_token - per_token.mean())).sum()) / spread if spread > 1e-9 else 1.0
    slope = min(1.5, max(0.0, slope))
    return Cost(unit, float(per_token.mean() - slope * size.mean()), slope, source)


@dataclass(frozen=True)
class Sharing:
    """How a budget is shared between size and data: freely, or with one of three things held."""

    n_params: float | None = None
    n_tokens: float | None = None
    tokens_per_param: float | None = None
    by_runs: bool = False
    """Whether the runs leave no choice: their amounts of data do not vary by themselves."""

    @property
    def free(self) -> bool:
        """Whether size and data are both to be chosen."""
        return self.n_params is None and self.n_tokens is None and self.tokens_per_param is None

    @property
    def text(self) -> str:
        """In words."""
        why = ", as in the runs" if self.by_runs else ""
        if self.n_params is not None:
            return f"size held at {number(self.n_params)} parameters{why}"
        if self.n_tokens is not None:
            return f"data held at {number(self.n_tokens)} tokens{why}"
        if self.tokens_per_param is not None:
            return f"{self.tokens_per_param:.4g} tokens a parameter{why}"
        return "size and data chosen for the lowest loss"

    def split(self, log_budget: Array, cost: Cost) -> tuple[Array, Array]:
        """Log sizes and log tokens that budgets buy.

        Raises:
            FitError: the cost does not grow with what is to be chosen.
        """
        left = log_budget - cost.level
        if self.n_params is not None:
            size = np.full_like(left, np.log(self.n_params))
            return size, left - cost.slope * size
        if self.n_tokens is not None:
            if cost.slope < 0.05:
                raise FitError(
                    f"{self.text}: the measured cost of a token ({cost.source}) does not grow with the size, so no "
                    "budget says how large a model it buys: plan in FLOPs"
                )
            data = np.full_like(left, np.log(self.n_tokens))
            return (left - data) / cost.slope, data
        assert self.tokens_per_param is not None
        ratio = float(np.log(self.tokens_per_param))
        size = (left - ratio) / (1 + cost.slope)
        return size, size + ratio
