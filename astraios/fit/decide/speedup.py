"""How much faster one series is than another: what the other needs to reach its loss, as a multiple."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from astraios.errors import FitError, UsageError, did_you_mean
from astraios.fit.curve import Array
from astraios.fit.decide.budget import Cost, Sharing
from astraios.fit.decide.plan import Costs, Planned
from astraios.fit.decide.planning import Planner
from astraios.fit.targets import Target, number

UNITS = ("flops", "tokens", "seconds", "money")
SPAN, STEP = np.log(1e8), 0.1
"""How far from the target's budget the slower series is followed, and in which steps, both in logs."""


@dataclass(frozen=True)
class SpeedUp:
    """What `series` needs of a unit to reach the loss of `faster` at a target, as a multiple of what that one needs.

    For one power law with a floor it is ((L_A - E) / (L_B - E))^(1/alpha) of the losses at the target. More than 1: the
    other is faster.
    """

    series: str
    faster: str
    unit: str
    factor: float | None
    """None where `series` does not get there."""
    low: float | None
    high: float | None
    """None where draws in which `series` never gets there are more than the interval leaves out."""
    separable: bool
    """Whether the interval leaves 1 out."""
    p_unreachable: float
    n_params: float
    n_tokens: float | None
    loss: float
    """Projected loss of `faster` at the target, nats."""
    level: float
    path: str
    """How both grow on the way, in words."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        return asdict(self)


def speedup(planned: Planned, series: str, faster: str, target: Target, unit: str = "flops") -> SpeedUp:
    """Follow `series` until it reaches what `faster` has at the target, in the mean and in every joint draw.

    Args:
        planned: the fit.
        series: what is followed.
        faster: what is to be reached.
        target: where; size and data are shared anew for its budget where both are inputs.
        unit: flops, tokens (at the target's size), seconds or money (the same factor: a device-hour has one price).

    Raises:
        UsageError: an unknown series or unit.
        FitError: the fit can't tell what more of the unit would do.
    """
    names = planned.ensemble.ladder.names
    for name in (series, faster):
        if name not in names:
            raise UsageError(f"no series {name!r} in this fit: {did_you_mean(name, names)}")
    if unit not in UNITS:
        raise UsageError(f"--unit {unit!r}: {did_you_mean(unit, UNITS)}")
    own = replace(planned, ensemble=planned.ensemble.between())
    slow, fast = (_planner(own, name, target, unit) for name in (series, faster))
    budget = _budget(fast, target)
    size, data = fast.exact(budget)
    there = fast.project(size, data)
    goal = float(there.mean[0])
    grid = budget + np.arange(-SPAN, SPAN + STEP, STEP)
    drawn = slow.project(*slow.path(grid))
    mean = np.minimum.accumulate(drawn.mean)
    factor = None if mean[-1] > goal else float(np.exp(slow.root(goal, grid, mean) - budget))
    where = _crossings(np.minimum.accumulate(drawn.draws, axis=1), there.draws[:, 0], grid) - budget
    never = float((~np.isfinite(where)).mean())
    tail = (1 - planned.level) / 2
    ends = np.quantile(np.sort(where), [tail, 1 - tail], method="inverted_cdf")
    low = float(np.exp(ends[0])) if np.isfinite(ends[0]) else None
    high = float(np.exp(ends[1])) if np.isfinite(ends[1]) else None
    if factor is not None:
        low, high = min(low or factor, factor), None if high is None else max(high, factor)
    separable = low is None or low > 1 or (high is not None and high < 1)
    return SpeedUp(
        series, faster, unit, factor, low, high, separable, never, float(np.exp(size[0])), float(np.exp(data[0])),
        float(np.exp(goal)), planned.level, slow.sharing.text,
    )  # fmt: skip


def _planner(planned: Planned, name: str, target: Target, unit: str) -> Planner:
    cost = _cost(planned.costs.get(name, Costs()), unit)
    free = {"n_params", "n_tokens"} <= set(planned.ensemble.best.law.inputs)
    held = Sharing(n_params=target.n_params) if free and unit == "tokens" else None
    plan = planned.planner(name, held, cost)
    if unit == "tokens" and plan.sharing.n_tokens is not None:
        raise FitError(
            f"every run was trained on {number(plan.sharing.n_tokens)} tokens: how many more a series would need can't "
            "be told; ask in FLOPs, or add runs with other amounts of data"
        )
    return plan


def _cost(costs: Costs, unit: str) -> Cost:
    if unit == "tokens":
        return Cost("tokens", 0.0, 0.0, "tokens")
    if unit == "flops":
        return costs.flops
    if costs.device_hours is None:
        raise UsageError(f"no throughput is known, so speed-ups in {unit} can't be told: use --unit flops")
    return costs.device_hours


def _budget(plan: Planner, target: Target) -> float:
    """Log budget of the target."""
    size = float(np.log(target.n_params))
    held = plan.sharing
    if held.n_tokens is not None:
        data = float(np.log(held.n_tokens))
    elif held.tokens_per_param is not None:
        data = size + float(np.log(held.tokens_per_param))
    else:
        if target.n_tokens is None:
            raise FitError("the target has no amount of data: give --target-tokens")
        data = float(np.log(target.n_tokens))
        size = float(np.log(held.n_params)) if held.n_params is not None else size
    return float(plan.cost.log_budget(np.array(size), np.array(data)))


def _crossings(falling: Array, goals: Array, grid: Array) -> Array:
    """Where each falling curve (draws, grid) comes down to its goal (draws,); infinity where it does not.

    A curve that is below its goal from the start is given the start.
    """
    below = falling <= goals[:, None]
    k = below.argmax(1)
    rows = np.arange(len(falling))
    before, here = falling[rows, np.maximum(k - 1, 0)], falling[rows, k]
    fall = np.where(before > here, before - here, 1.0)
    found = grid[np.maximum(k - 1, 0)] + np.where(k > 0, (before - goals) / fall, 0.0) * (grid[1] - grid[0])
    return np.where(below.any(1), found, np.inf)
