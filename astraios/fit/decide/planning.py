"""Which size and how much data: the best for a budget, and the least budget for a loss, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import FitError
from astraios.fit.curve import Array
from astraios.fit.decide.budget import SIX_N_D, Cost, Sharing
from astraios.fit.decide.drift import drift
from astraios.fit.ensemble import Draws, Ensemble, build
from astraios.fit.targets import Tokens

if TYPE_CHECKING:
    from astraios.fit.scores.from_loss import ScoreModel

FLAT = 0.002
"""Share of the best loss within which sizes count as equally good."""
GRID = 121
"""Sizes at which an isoFLOP line is evaluated."""
BEYOND = np.log(1e10)
"""Largest budget that is searched, as a log multiple of the largest that was measured."""


@dataclass(frozen=True)
class Allocation:
    """The best size and amount of data for a budget, with intervals."""

    flops: float
    """The budget, in the unit of the cost that it was asked in."""
    n_params: float
    n_params_low: float
    n_params_high: float
    n_tokens: float
    n_tokens_low: float
    n_tokens_high: float
    exponent: float
    """Of the best size in the budget: N* ~ C^exponent around this budget."""
    exponent_low: float
    exponent_high: float
    loss: float
    p_no_optimum: float | None
    """Share of the draws whose best size lies at an end of the range; None where nothing is chosen."""
    loss_low: float
    loss_high: float
    new_low: float
    new_high: float
    """Ends of the interval of a new run's loss."""
    flat_low: float
    flat_high: float
    """Sizes whose projected loss is within 0.2 % of the best."""


@dataclass(frozen=True)
class Least:
    """The least budget that reaches a loss or a score."""

    target: float
    """Nats, or a fraction."""
    budget: float | None
    """None where the target is not reached."""
    low: float | None
    high: float | None
    """None where draws that never reach the target are more than the interval leaves out."""
    p_unreachable: float
    """Share of the draws whose floor lies above the target (whose ceiling lies below it)."""
    floor: float
    """What is projected for 1e10 times the largest budget measured: nats, or a fraction."""


@dataclass(frozen=True)
class Planner:
    """One series of a fit, ready to plan with."""

    ensemble: Ensemble
    g: int
    cost: Cost = SIX_N_D
    sharing: Sharing = Sharing()  # noqa: RUF009
    views: tuple[Ensemble, ...] = ()
    """The same laws with all points counting alike: how much far points should say is a choice that moves an optimum,
    so intervals of the best size hold both."""
    level: float = 0.9
    decades: float = 6.0

    @property
    def name(self) -> str:
        """The series."""
        return self.ensemble.ladder.names[self.g]

    def columns(self, size: Array, data: Array) -> dict[str, Array]:
        """Inputs that the laws take, the same for all series."""
        ladder, count = self.ensemble.ladder, len(self.ensemble.ladder)
        known = {"n_params": size, "n_tokens": data, "unique_tokens": data}
        wanted = dict.fromkeys(name for fit in self.ensemble.fits for name in fit.law.inputs)
        lacking = [name for name in wanted if name not in known]
        if lacking:
            raise FitError(f"a plan of size and data can't give {lacking[0]}, which the law takes: choose another law")
        return {name: np.tile(known[name], (count, 1)) for name in wanted if ladder.has(name)}

    def project(self, size: Array, data: Array) -> Draws:
        """Projections of the series at log sizes and log tokens; arrays as `Draws` has them, without the series."""
        drawn = self.ensemble.project(self.columns(size, data))
        return Draws(drawn.mean[self.g], drawn.draws[self.g], drawn.new[self.g])

    def path(self, log_budget: Array) -> tuple[Array, Array]:
        """Log sizes and log tokens that the projected loss is least at, (budgets,) both."""
        if not self.sharing.free:
            return self.sharing.split(log_budget, self.cost)
        middle = (log_budget - self.cost.level) / (1 + self.cost.slope)
        size = middle[:, None] + self._offsets
        values = self._mean(size.ravel(), (log_budget[:, None] - self.cost.log_budget(size, np.zeros(1))).ravel())
        values = values.reshape(size.shape)
        best = middle + _vertex(self._offsets, values, values.argmin(1))
        return best, log_budget - self.cost.log_budget(best, np.zeros(1))

    def line(self, log_budget: float, grid: Array | None = None) -> tuple[Array, Array]:
        """Log sizes and log tokens of one budget."""
        if grid is None:
            grid = (log_budget - self.cost.level) / (1 + self.cost.slope) + self._offsets
        return grid, log_budget - self.cost.log_budget(grid, np.zeros(1))

    @property
    def _offsets(self) -> Array:
        """Log sizes that are searched, around equal shares of size and data."""
        return np.linspace(-0.5, 0.5, GRID) * self.decades * np.log(10)

    def _mean(self, size: Array, data: Array) -> Array:
        """Mean projected log losses."""
        return self.ensemble.expected(self.columns(size, data))[self.g]

    def _best(self, log_budget: float) -> tuple[float, bool]:
        """The best log size, to many digits, and whether it lies at an end of what was searched."""
        size, data = self.line(log_budget)
        values = self._mean(size, data)
        k = int(values.argmin())
        edge = k in (0, len(size) - 1)
        step = size[1] - size[0]
        centre = float(size[k])
        while step > 1e-6 and not edge:
            fine = centre + np.linspace(-step, step, 21)
            centre = float(fine[self._mean(*self.line(log_budget, fine)).argmin()])
            step /= 8
        return centre, edge

    def at(self, budget: float) -> Allocation:
        """The best use of a budget.

        Raises:
            FitError: no interior optimum.
        """
        log_budget = float(np.log(budget))
        if not self.sharing.free:
            return self._held(budget)
        best, edge = self._best(log_budget)
        here, on_edge = self._optima(log_budget)
        ahead, ahead_edge = self._optima(log_budget + 1)
        inside = ~np.logical_or(on_edge, ahead_edge)
        if edge or inside.sum() < 10:
            raise FitError(
                f"{self.name}: no interior optimum at a budget of {budget:.3g}: {1 - inside.mean():.0%} of the draws "
                "end at the range's edge; hold the size, the data or the tokens a parameter"
            )
        tail = [(1 - self.level) / 2, (1 + self.level) / 2]
        low, high = np.quantile(here[inside], tail)
        exponents = (ahead - here)[inside]
        e_low, e_high = np.quantile(exponents, tail)
        exponent = self._best(log_budget + 0.5)[0] - self._best(log_budget - 0.5)[0]
        low, high = min(low, best), max(high, best)
        sizes = np.array([best, low, high])
        data = log_budget - self.cost.log_budget(sizes, np.zeros(1))
        size, line = self.line(log_budget)
        above = self._mean(size, line) - (self._mean(sizes[:1], data[:1])[0] + np.log1p(FLAT))
        flat = _crossings(size, above, best)
        return self._allocation(
            budget, np.exp(sizes), np.exp(data[[0, 2, 1]]),
            (float(exponent), float(min(e_low, exponent)), float(max(e_high, exponent))), float(1 - inside.mean()),
            (float(np.exp(flat[0])), float(np.exp(flat[1]))),
        )  # fmt: skip

    def _held(self, budget: float) -> Allocation:
        ends = np.log(budget) + np.array([-0.5, 0.0, 0.5])
        size, data = self.sharing.split(ends, self.cost)
        exponent = float(size[2] - size[0])
        n, d = float(np.exp(size[1])), float(np.exp(data[1]))
        return self._allocation(budget, np.full(3, n), np.full(3, d), (exponent,) * 3, None, (n, n))

    def _allocation(
        self, budget: float, sizes: Array, data: Array, exponent: tuple[float, float, float],
        p_no_optimum: float | None, flat: tuple[float, float],
    ) -> Allocation:  # fmt: skip
        drawn = self.project(np.log(sizes[:1]), np.log(data[:1]))
        tail = [(1 - self.level) / 2, (1 + self.level) / 2]
        mean = float(drawn.mean[0])
        low, high = np.quantile(drawn.draws[:, 0], tail)
        new_low, new_high = np.quantile(drawn.new[:, 0], tail)
        n, n_low, n_high = map(float, sizes)
        d, d_low, d_high = map(float, data)
        return Allocation(
            budget, n, n_low, n_high, d, d_low, d_high, *exponent, float(np.exp(mean)), p_no_optimum,
            float(np.exp(min(low, mean))), float(np.exp(max(high, mean))), float(np.exp(min(new_low, mean))),
            float(np.exp(max(new_high, mean))), *flat,
        )  # fmt: skip

    def _optima(self, log_budget: float) -> tuple[Array, Array]:
        """Best log size in each draw, (draws,), and whether it lies at an end of the range.

        Deviations of the draws from their law averages are stretched as those of losses are; outside the budgets that
        were measured the best size drifts too.
        """
        found, edges = [], []
        size, data = self.line(log_budget)
        low, high = self._measured()
        beyond = np.sqrt(max(log_budget - high, low - log_budget, 0.0))
        for ensemble, moves in zip((self.ensemble, *self.views), self._drifts, strict=True):
            columns = self.columns(size, data)
            curves = ensemble.laws_at(columns, self.g)
            k = curves.argmin(1)
            best = _vertex(size, curves, k)
            middle = float(np.median(best))
            found.append(middle + np.maximum(ensemble.stretch, 1.0) * (best - middle) + beyond * moves)
            edges.append((k == 0) | (k == len(size) - 1))
        return np.concatenate(found), np.concatenate(edges)

    @cached_property
    def _drifts(self) -> tuple[Array, ...]:
        """Of each view: how far the best log size of each draw drifts, (draws,), for each root of the log budget."""
        drawn = np.random.default_rng([0, 4]).standard_normal(len(self.ensemble.stretch))
        return tuple(drift(one) * drawn[: len(one.stretch)] for one in (self.ensemble, *self.views))

    def least(self, loss: float) -> Least:
        """The least budget whose projected loss is `loss`.

        The draws are followed along the sizes and data that are best for their mean: near an optimum the loss is flat.
        """
        goal = float(np.log(loss))
        found = self._least(loss, goal, lambda mean: mean, lambda draws: draws)
        return replace(found, floor=float(np.exp(found.floor)))

    def least_score(self, score: float, model: ScoreModel, seed: int = 0) -> Least:
        """The least budget whose projected score is `score`, by the links from loss to score."""

        def drawn(draws: Array) -> Array:
            columns = [model.draw(np.random.default_rng([seed, 3]), np.exp(column), self.name)[0] for column in draws.T]
            return -np.stack(columns, axis=1)

        found = self._least(score, -score, lambda mean: -model.point(np.exp(mean), self.name), drawn)
        return replace(found, floor=-found.floor)

    def _least(
        self, target: float, goal: float, of_mean: Callable[[Array], Array], of_draws: Callable[[Array], Array]
    ) -> Least:
        """The least budget at which something that falls with the log loss comes down to `goal`."""
        low, high = self._measured()
        grid = np.linspace(low - np.log(1e4), high + BEYOND, 97)
        size, data = self.path(grid)
        drawn, mean = self.project(size, data), np.minimum.accumulate(of_mean(self._mean(size, data)))
        # What the laws say at the end, without what was learnt of projections nearby.
        last = self.columns(size[-1:], data[-1:])
        average, laws = self.ensemble.average(last)[self.g], self.ensemble.laws_at(last, self.g)[:, 0]
        floors = average + self.ensemble.stretch * (laws - average)
        p_unreachable = float((of_draws(floors[:, None])[:, 0] > goal).mean())
        floor = float(of_mean(average)[0])
        if mean[-1] > goal or p_unreachable > 0.5:
            return Least(target, None, None, None, p_unreachable, floor)
        budget = self.root(goal, grid, mean, of_mean)
        tail = (1 - self.level) / 2
        falling = np.minimum.accumulate(of_draws(drawn.draws), axis=1)
        where = np.sort([_first(goal, grid, one) for one in falling])
        ends = np.quantile(where, [tail, 1 - tail], method="inverted_cdf")
        return Least(
            target, float(np.exp(budget)), float(np.exp(min(ends[0], budget))),
            float(np.exp(max(ends[1], budget))) if np.isfinite(ends[1]) else None, p_unreachable, floor,
        )  # fmt: skip

    def root(
        self, goal: float, grid: Array, mean: Array, of_mean: Callable[[Array], Array] = lambda mean: mean
    ) -> float:
        """Log budget at which the mean comes down to `goal` along the path, by bisection.

        Args:
            goal: log loss, or what `of_mean` makes of it.
            grid: log budgets that hold it.
            mean: the mean there, falling.
            of_mean: from log losses.
        """
        k = int(np.argmax(mean <= goal))
        if k == 0:
            return float(grid[0])
        low, high = float(grid[k - 1]), float(grid[k])
        while high - low > 1e-10:
            middle = (low + high) / 2
            value = of_mean(self._mean(*self.exact(middle)))[0]
            low, high = (low, middle) if value <= goal else (middle, high)
        return (low + high) / 2

    def exact(self, log_budget: float) -> tuple[Array, Array]:
        """The path at one budget, to many digits."""
        if not self.sharing.free:
            return self.path(np.array([log_budget]))
        return self.line(log_budget, np.array([self._best(log_budget)[0]]))

    def measured_budgets(self) -> tuple[float, float]:
        """The smallest and the largest budget of the runs."""
        low, high = self._measured()
        return float(np.exp(low)), float(np.exp(high))

    def _measured(self) -> tuple[float, float]:
        """The same as logs."""
        one = self.ensemble.ladder.series[self.g].inputs
        size = one["n_params"] if "n_params" in one else np.array([np.log(self.sharing.n_params or 1.0)])
        if "n_tokens" in one:
            spent = self.cost.log_budget(size, one["n_tokens"])
        elif self.sharing.n_tokens is not None:
            spent = self.cost.log_budget(size, np.log(self.sharing.n_tokens))
        else:
            spent = self.cost.log_budget(size, size + np.log(self.sharing.tokens_per_param or 1.0))
        return float(spent.min()), float(spent.max())


def planner(
    ensemble: Ensemble, group: str | None = None, *, cost: Cost = SIX_N_D, sharing: Sharing | None = None,
    tokens: Tokens | None = None, level: float = 0.9, views: Sequence[Ensemble] = (), decades: float = 6.0,
) -> Planner:  # fmt: skip
    """What plans one series of a fit.

    Args:
        ensemble: the fit.
        group: the series; the first without it.
        cost: of a token.
        sharing: what is held; nothing by default.
        tokens: what the runs say about amounts of data, where they do not vary by themselves.
        level: of the intervals.
        views: other fits of the same laws and runs (see `even`).
        decades: width of the range of sizes that is searched.

    Raises:
        FitError: the fit can't tell what size or data would do, or there is no such series.
    """
    names, inputs = ensemble.ladder.names, ensemble.best.law.inputs
    if group is not None and group not in names:
        raise FitError(f"no series {group!r} in this fit: it has {', '.join(names)}")
    g = names.index(group) if group else 0
    sharing = sharing or Sharing()
    if "n_tokens" not in inputs:
        sharing = runs_own(tokens, sharing)
    elif "n_params" not in inputs:
        sizes = np.exp(ensemble.ladder.series[g].inputs.get("n_params", np.zeros(0)))
        own = float(sizes[0]) if sizes.size else None
        if sharing.n_params is None and own is None:
            raise FitError("the runs do not say how large their models are: give a column of sizes, or --target SIZE")
        sharing = Sharing(n_params=own, by_runs=True)
    return Planner(ensemble, g, cost, sharing, tuple(views), level, decades)


def runs_own(tokens: Tokens | None, asked: Sharing) -> Sharing:
    """The only way to share a budget that runs of one size each tell about."""
    if tokens is None or tokens.kind == "unknown" or tokens.value is None:
        raise FitError(
            "an allocation needs a fit over both size and data: the runs do not say how many tokens they were trained "
            "on; give the column of tokens"
        )
    if tokens.kind == "unequal":
        raise FitError(
            "an allocation needs a fit over both size and data: amounts of data vary in a way that no law can use; "
            "hold one with --where n_tokens=N, or add runs"
        )
    if asked.n_params is not None:
        raise FitError(
            "the size is held, and the runs' amounts of data do not vary by themselves: nothing is left to choose; "
            "use astraios fit-scaling --target SIZE"
        )
    own = tokens.value
    given = asked.n_tokens if tokens.kind == "constant" else asked.tokens_per_param
    other = asked.tokens_per_param if tokens.kind == "constant" else asked.n_tokens
    if other is not None or (given is not None and abs(np.log(given / own)) > 0.02):
        raise FitError(
            f"every run was trained {tokens.text}: what more or fewer would do can't be told; add runs with other "
            "amounts of data, or leave the data out"
        )
    if tokens.kind == "constant":
        return Sharing(n_tokens=own, by_runs=True)
    return Sharing(tokens_per_param=own, by_runs=True)


def even(ensemble: Ensemble, estimator: str, seed: int) -> tuple[Ensemble, ...]:
    """The same laws fitted to the same runs with all points counting alike, where points near the target count most."""
    if estimator != "huber" or "n_tokens" not in ensemble.best.law.inputs:
        return ()
    return (build([fit.law for fit in ensemble.fits], ensemble.ladder, "huber_even", seed),)


def allocate(
    ensemble: Ensemble, flops: float, group: str | None = None, level: float = 0.9, decades: float = 6,
    views: Sequence[Ensemble] = (),
) -> Allocation:  # fmt: skip
    """Minimise the projected loss over sizes with N D = flops / 6.

    Raises:
        FitError: the fit does not use both size and data, or there is no such series.
    """
    if "n_tokens" not in ensemble.best.law.inputs or "n_params" not in ensemble.best.law.inputs:
        raise FitError("an allocation needs a fit over both size and data: give the column of tokens")
    return planner(ensemble, group, level=level, views=views, decades=decades).at(flops)


def _vertex(grid: Array, values: Array, k: Array) -> Array:
    """Minimum of the parabola through the smallest value and its neighbours."""
    k = np.clip(k, 1, len(grid) - 2)
    rows = np.arange(len(values))
    left, here, right = values[rows, k - 1], values[rows, k], values[rows, k + 1]
    bend = left - 2 * here + right
    shift = np.where(np.abs(bend) > 1e-15, 0.5 * (left - right) / np.where(bend == 0, 1, bend), 0.0)
    return grid[k] + np.clip(shift, -1, 1) * (grid[1] - grid[0])


def _crossings(grid: Array, above: Array, best: float) -> tuple[float, float]:
    """Where a curve rises above 0 on both sides of `best`, or the ends of the grid."""
    left = np.flatnonzero((grid < best) & (above > 0))
    right = np.flatnonzero((grid > best) & (above > 0))
    ends = [float(grid[0]), float(grid[-1])]
    for side, (found, step) in enumerate(((left[-1:], 1), (right[:1], -1))):
        if found.size:
            k, inner = int(found[0]), int(found[0]) + step
            ends[side] = float(grid[k] + (grid[inner] - grid[k]) * above[k] / (above[k] - above[inner]))
    return min(ends[0], best), max(ends[1], best)


def _first(goal: float, grid: Array, values: Array) -> float:
    """Where falling values first come down to `goal`; infinity where they don't."""
    below = values <= goal
    if not below.any():
        return float("inf")
    k = int(below.argmax())
    if k == 0:
        return float(grid[0])
    share = (values[k - 1] - goal) / (values[k - 1] - values[k])
    return float(grid[k - 1] + share * (grid[k] - grid[k - 1]))
