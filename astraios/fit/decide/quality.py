"""Whether a task and metric are worth their runs: can they tell methods apart at the sizes at hand?

Decision accuracy: how often the order of two methods at a smaller size is that at the largest (Magnusson et al., 2025,
DataDecide). Signal to noise: the spread between methods over that of one score when it is repeated (Heineman et al.,
2025, Signal and Noise). Power: how many items, or runs, show a given difference (Miller, 2024, Adding error bars to
evals). Methods are compared in pairs at the largest size, corrected for their number (Holm, 1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astraios.fit.curve import Array
from astraios.fit.scores.data import ScoreData
from astraios.fit.scores.rolling import rungs

if TYPE_CHECKING:
    from astraios.fit.decide.compare import Paired

ALPHA, POWER = 0.05, 0.8
"""Level of a test and the power that is wanted."""
UNSURE = 0.6
"""Decision accuracy up to which a size decides hardly more often than a coin."""
TAIL = 5
"""Last checkpoints whose spread is noise."""


@dataclass(frozen=True)
class Decision:
    """How one size decides what holds at the largest."""

    n_params: float
    accuracy: float
    """Share of pairs in the order of the largest size; ties count half."""
    n_pairs: int


@dataclass(frozen=True)
class Quality:
    """What one metric of one task can decide."""

    task_id: str
    metric: str
    methods: tuple[str, ...]
    """At the largest size, best first."""
    n_params: float
    """The largest size."""
    decisions: tuple[Decision, ...]
    """From each smaller size, ascending."""
    signal: float | None
    noise: float
    noise_from: str
    """seeds, checkpoints or items."""
    difference: float
    n_items: float | None
    n_needed: float | None
    seeds_needed: float | None
    power: float | None
    is_paired: bool
    distance_from_chance: float | None
    at_chance: bool
    """Whether the smaller sizes are within two standard errors of chance."""
    groups: tuple[tuple[str, ...], ...]

    @property
    def signal_to_noise(self) -> float | None:
        """Spread between methods over that of a repeated score; None where either is not known."""
        return self.signal / self.noise if self.signal is not None and self.noise > 0 else None

    @property
    def last(self) -> Decision | None:
        """The largest size but one."""
        return self.decisions[-1] if self.decisions else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it decides nothing at the sizes at hand; empty where it does."""
        found = []
        ratio = self.signal_to_noise
        if self.at_chance:
            found.append("the smaller sizes are at chance level or below")
        if ratio is not None and ratio < 1:
            found.append(f"methods differ less ({self.signal:.3g}) than a repeated score does ({self.noise:.3g})")
        if self.last is not None and self.last.accuracy <= UNSURE:
            found.append(f"it orders {self.last.accuracy:.0%} of {self.last.n_pairs} pairs as the largest size does")
        if len(self.methods) > 1 and len(self.groups) == 1 and len(self.groups[0]) == len(self.methods):
            found.append(f"none of its {len(self.methods)} methods can be told apart at the largest size")
        return tuple(found)

    @property
    def words(self) -> str:
        """What it decides, in a sentence."""
        name = f"{self.task_id} ({self.metric})"
        if self.reasons:
            return f"{name} decides nothing at these sizes: {'; '.join(self.reasons)}."
        if self.last is None:
            return f"{name}: methods share one size only, so that nothing says what a smaller one would have decided."
        return f"{name} orders {self.last.accuracy:.0%} of {self.last.n_pairs} pairs as the largest size does."


def assess(
    data: ScoreData, difference: float = 0.02, *, paired: Mapping[tuple[str, str], Paired] | None = None,
    tails: Mapping[tuple[str, float], Sequence[float]] | None = None,
) -> Quality:  # fmt: skip
    """What one metric of one task can decide.

    Args:
        data: its scores, in the metric's unit; runs that share method and size are seeds.
        difference: the difference that power is about, in the metric's unit.
        paired: differences between methods over the items that they share, where samples tell them.
        tails: last scores along training of runs that have them, by method and log size.
    """
    group = np.array(data.group)
    sign = 1.0 if data.higher_is_better else -1.0
    edges = rungs(data.log_size)
    place = np.searchsorted(edges, data.log_size + 1e-9) - 1
    means = [_means(group, data.value, place == k) for k in range(len(edges))]
    largest = len(edges) - 1
    decisions = tuple(
        Decision(float(np.exp(data.log_size[place == k].mean())), *found)
        for k in range(largest)
        if (found := _agreement(means[k], means[largest])) is not None
    )
    top = means[largest]
    noise, noise_from = _noise(data, place, tails or {})
    errors = {name: _error(data, (group == name) & (place == largest), noise, noise_from) for name in top}
    methods = tuple(sorted(top, key=lambda name: (-sign * top[name], name)))
    below = place < largest if largest else place == 0
    distance = float((data.value[below] - data.chance).mean()) if np.isfinite(data.chance) else None
    pairs = paired or {}
    items = float(np.median([one.n for one in pairs.values()])) if pairs else _items(data)
    share = float(np.clip(data.value[place == largest].mean(), 0.02, 0.98)) if data.ceiling <= 1 else None
    needed, power = power_of_items(share, difference, items, _spread(pairs))
    seeds = None if noise_from == "items" else power_of_runs(noise, difference)
    at_chance = distance is not None and sign * distance < 2 * float(np.median(data.stderr[below]))
    return Quality(
        data.task_id, data.metric, methods, float(np.exp(data.log_size[place == largest].mean())), decisions,
        float(np.std(list(top.values()), ddof=1)) if len(top) > 1 else None, noise, noise_from, difference, items,
        needed, seeds, power, bool(pairs), distance, at_chance,
        groups_of(top, errors, sign, _paired_errors(pairs, data, place == largest, noise, noise_from)),
    )  # fmt: skip


def _spread(pairs: Mapping[tuple[str, str], Paired]) -> float | None:
    """Standard deviation over items of the difference between two methods, over all pairs; clusters count as such."""
    return float(np.sqrt(np.mean([one.stderr**2 * one.n for one in pairs.values()]))) if pairs else None


def _paired_errors(
    pairs: Mapping[tuple[str, str], Paired], data: ScoreData, mine: Array, noise: float, noise_from: str
) -> dict[frozenset[str], float]:
    """Standard error of the difference of two methods on the same items, no less than seeds or checkpoints show."""
    group, repeated = np.array(data.group), 0.0 if noise_from == "items" else noise
    return {
        frozenset(names): max(
            one.stderr, repeated * float(np.sqrt(sum(1 / (mine & (group == n)).sum() for n in names)))
        )
        for names, one in pairs.items()
    }


def _means(group: Array, value: Array, mine: Array) -> dict[str, float]:
    return {str(name): float(value[mine & (group == name)].mean()) for name in sorted(set(group[mine]))}


def _agreement(small: Mapping[str, float], large: Mapping[str, float]) -> tuple[float, int] | None:
    """Share of pairs in the same order, and their number; None without a pair."""
    pairs = list(combinations([name for name in small if name in large], 2))
    if not pairs:
        return None
    right = [
        0.5 if (a := small[one] - small[other]) == 0 or (b := large[one] - large[other]) == 0 else float(a * b > 0)
        for one, other in pairs
    ]
    return float(np.mean(right)), len(pairs)


def _noise(
    data: ScoreData, place: NDArray[np.intp], tails: Mapping[tuple[str, float], Sequence[float]]
) -> tuple[float, str]:
    """Standard deviation of a repeated score: between seeds, else between the last checkpoints, else over items."""
    group, squares, free = np.array(data.group), 0.0, 0
    for name in set(group):
        for k in set(place[group == name]):
            values = data.value[(group == name) & (place == k)]
            sizes = data.log_size[(group == name) & (place == k)]
            if len(values) > 1 and np.ptp(sizes) < 1e-6:
                squares, free = squares + float(((values - values.mean()) ** 2).sum()), free + len(values) - 1
    if free and squares > 0:
        return float(np.sqrt(squares / free)), "seeds"
    for scores in tails.values():
        last = np.asarray(scores, float)[-TAIL:]
        if len(last) > 2:
            line = np.polyval(np.polyfit(np.arange(len(last)), last, 1), np.arange(len(last)))
            squares, free = squares + float(((last - line) ** 2).sum()), free + len(last) - 2
    if free and squares > 0:
        return float(np.sqrt(squares / free)), "checkpoints"
    return float(np.sqrt(np.mean(data.stderr**2))), "items"


def _error(data: ScoreData, mine: Array, noise: float, noise_from: str) -> float:
    """Standard error of a method's mean at the largest size; seeds and checkpoints hold no error over items."""
    own = float(np.mean(data.stderr[mine] ** 2))
    runs = int(mine.sum())
    return float(np.sqrt(own if noise_from == "items" else max(noise**2 / runs, own)))


def _items(data: ScoreData) -> float | None:
    from astraios.fit.scores.data import UNKNOWN_ERROR

    return None if np.isclose(data.items, 0.25 / UNKNOWN_ERROR**2) else data.items


def power_of_items(
    share: float | None, difference: float, items: float | None, paired: float | None = None
) -> tuple[float | None, float | None]:
    """Items that show a difference with a power of 80 % (two-sided, 5 %), and the power of those that there are.

    Where items are compared one by one it is the test of paired differences, else that of two proportions on items of
    their own, by the arcsine (Cohen, 1988), both by statsmodels.

    Args:
        share: the score around which methods differ; None for a metric that is no fraction.
        difference: in the metric's unit.
        items: of a score; None where nobody says.
        paired: standard deviation over items of the difference between two methods.
    """
    from statsmodels.stats.power import NormalIndPower, TTestPower
    from statsmodels.stats.proportion import proportion_effectsize

    if difference <= 0:
        return None, None
    if paired is not None and paired > 0:
        test, effect = TTestPower(), difference / paired
        return _solved(test, effect), None if items is None else _reached(test, effect, max(items, 2))
    if share is None:
        return None, None
    low = min(max(share - difference / 2, 1e-6), 1 - difference - 1e-6)
    effect = abs(float(proportion_effectsize(low + difference, low)))
    test = NormalIndPower()
    return _solved(test, effect), None if items is None else _reached(test, effect, items)


def _solved(test: object, effect: float) -> float:
    found = test.solve_power(effect_size=effect, alpha=ALPHA, power=POWER)  # type: ignore[attr-defined]
    return float(np.ravel(found)[0])


def _reached(test: object, effect: float, n: float) -> float:
    """Power of a test with so many; where statsmodels' t tests give NaN (far out) it is the normal test's."""
    from statsmodels.stats.power import TTestPower, normal_power

    found = float(test.power(effect, n, ALPHA))  # type: ignore[attr-defined]
    apart = n if isinstance(test, TTestPower) else n / 2
    return float(normal_power(effect, apart, ALPHA)) if np.isnan(found) else found


def power_of_runs(noise: float, difference: float) -> float | None:
    """Runs of each of two methods that show a difference with a power of 80 %, by the t test; None without noise."""
    from statsmodels.stats.power import TTestIndPower

    if noise <= 0 or difference <= 0:
        return None
    effect = difference / noise
    # From two runs on there is a test at all; where two are more than enough, solving for fewer has no answer.
    if _reached(TTestIndPower(), effect, 2) >= POWER:
        return 2.0
    return _solved(TTestIndPower(), effect)


def groups_of(
    means: Mapping[str, float], errors: Mapping[str, float], sign: float = 1.0,
    paired: Mapping[frozenset[str], float] | None = None,
) -> tuple[tuple[str, ...], ...]:  # fmt: skip
    """Methods that can't be told apart, best first: stretches of their order without a pair that differs (Holm, 5 %).

    Args:
        means, errors: score and standard error by method.
        sign: -1 where less is better.
        paired: standard errors of differences on the same items, which go before those of the methods alone.
    """
    from statsmodels.stats.multitest import multipletests

    names = sorted(means, key=lambda name: (-sign * means[name], name))
    pairs = list(combinations(range(len(names)), 2))
    if not pairs:
        return (tuple(names),) if names else ()
    known = paired or {}
    p = [_p_value(means, errors, names[i], names[j], known) for i, j in pairs]
    apart = {pair for pair, told in zip(pairs, multipletests(p, ALPHA, method="holm")[0], strict=True) if told}
    found: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = start
        while end + 1 < len(names) and all((i, end + 1) not in apart for i in range(start, end + 1)):
            end += 1
        if not found or end > found[-1][1]:
            found.append((start, end))
    return tuple(tuple(names[start : end + 1]) for start, end in found)


def _p_value(
    means: Mapping[str, float],
    errors: Mapping[str, float],
    one: str,
    other: str,
    paired: Mapping[frozenset[str], float],
) -> float:
    from scipy.stats import norm

    spread = paired.get(frozenset((one, other)), float(np.hypot(errors[one], errors[other])))
    if spread <= 0:
        return 1.0 if means[one] == means[other] else 0.0
    return float(2 * norm.sf(abs(means[one] - means[other]) / spread))
