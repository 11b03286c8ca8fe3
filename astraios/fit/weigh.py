"""Choosing and weighing laws by what they would have predicted: rolling leave-largest-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError, UsageError, did_you_mean
from astraios.fit.curve import Array
from astraios.fit.fitting import pool
from astraios.fit.laws import LAWS, Law
from astraios.fit.observations import Ladder
from astraios.fit.pooling import ESTIMATORS, PooledFit

BY_SIZE = ("power_offset", "power")
BY_SIZE_AND_DATA = ("chinchilla", "skaling", "interaction")
BY_DATA = ("rectified", "data_power")
BENT = ((6, "shifted_power"), (8, "bounded"), (10, "broken_power"))
"""Further laws of size alone, and the sizes from which on there is something to tell them by."""
DOUBT = 0.25
"""Weight of any other law of size alone before an error is seen, against 1 of `power_offset`: most ladders have a
floor, and few bend otherwise."""
COUNTED = 4.0
"""Hidden points that the errors of one split are worth in the weights: points of one size share their error."""


@dataclass(frozen=True)
class Split:
    """A ladder with its largest points hidden."""

    train: Ladder
    hidden: Ladder
    reach: float
    """How far the hidden points lie beyond the training ones, in natural logarithms."""


@dataclass(frozen=True)
class Rolling:
    """Errors of one law over the splits: log predicted - log observed, one array a split (points of all series)."""

    law: Law
    errors: tuple[Array, ...]
    groups: tuple[tuple[str, ...], ...]
    reach: tuple[float, ...]

    @property
    def rmse(self) -> float:
        """Root mean square over the splits, each counting once."""
        return float(np.sqrt(np.mean([np.mean(e**2) for e in self.errors]))) if self.errors else float("nan")


def reach(train: Ladder, columns: dict[str, Array]) -> Array:
    """How far points (log inputs by name) lie beyond a ladder, by size, by data and by their product; >= 0."""
    names = [name for name in columns if train.has(name)]
    beyond = [columns[name] - train.column(name).max() for name in names]
    if len(names) > 1:
        beyond.append(
            np.sum([columns[n] for n in names], axis=0) - np.sum([train.column(n) for n in names], axis=0).max()
        )
    return np.maximum(np.max(beyond, axis=0), 0.0)


def splits(ladder: Ladder, inputs: Sequence[str], most: int = 3) -> list[Split]:
    """Hide the largest sizes, then the two largest, ...; with data too, the largest budgets and amounts of data."""
    found: list[Split] = []
    coordinates = [ladder.column(name) for name in inputs]
    if len(coordinates) > 1:
        coordinates.append(np.sum(coordinates, axis=0))
    for values in coordinates:
        levels = np.unique(np.round(values, 6))
        if len(levels) < 3:
            continue
        cuts = levels[-1 : -most - 1 : -1] if len(levels) <= 8 else np.quantile(values, [0.8, 0.6])
        for cut in cuts:
            split = _split(ladder, inputs, values, float(cut))
            if split is not None:
                found.append(split)
    return found


def _split(ladder: Ladder, inputs: Sequence[str], values: Array, cut: float) -> Split | None:
    masks, start = [], 0
    for series in ladder.series:
        masks.append(values[start : start + len(series)] < cut - 1e-6)
        start += len(series)
    train, hidden = ladder.keep(masks), ladder.keep([~m for m in masks])
    rising = {s.name for s in ladder.series if s.rises}
    names = set(train.names) - (rising if len(rising) < len(ladder) else set())
    hidden = Ladder(tuple(s for s in hidden.series if s.name in names), ladder.quantity)
    if not len(train) or not len(hidden) or len(np.unique(np.round(train.column(inputs[0]), 6))) < 2:
        return None
    far = reach(train, {name: hidden.column(name) for name in inputs})
    return Split(train, hidden, max(float(far.mean()), 1e-3))


def predict_points(fit: PooledFit, ladder: Ladder) -> Array:
    """Log predictions at the points of `ladder`, whose series the fit knows; (all points,)."""
    known = {name: g for g, name in enumerate(fit.ladder.names)}
    parts = []
    for series in ladder.series:
        x = np.stack([series.inputs[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
        parts.append(fit.law.evaluate(fit.theta[known[series.name]][None], x)[0][0])
    return np.concatenate(parts)


def roll(law: Law, parts: Sequence[Split], estimator: str, seed: int) -> Rolling:
    """What `law` would have predicted for each split."""
    errors, groups = [], []
    for part in parts:
        fit = pool(law, part.train, estimator, seed, starts=8)
        errors.append(predict_points(fit, part.hidden) - np.concatenate([s.log_loss for s in part.hidden.series]))
        groups.append(tuple(s.name for s in part.hidden.series for _ in range(len(s))))
    return Rolling(law, tuple(errors), tuple(groups), tuple(part.reach for part in parts))


def weigh(rollings: Sequence[Rolling], noise: float) -> Array:
    """Weights of the laws from their rolling errors; laws whose errors are within the noise of one another share."""
    doubted = {"power", *(name for _, name in BENT)} if len(rollings) > 1 else set()
    prior = np.array([DOUBT if one.law.name in doubted else 1.0 for one in rollings])
    if not rollings[0].errors:
        return prior / prior.sum()
    score = np.array([np.mean([np.log(np.mean(e**2) + noise**2) for e in r.errors]) for r in rollings])
    weight = prior * np.exp(-0.5 * COUNTED * (score - score.min()))
    return weight / weight.sum()


def candidates(law: str, ladder: Ladder) -> list[Law]:
    """The laws that "auto" considers for these data, or the one that is named.

    Raises:
        UsageError: there is no such law.
        FitError: the law needs an input that the data lack.
    """
    if law != "auto":
        chosen = LAWS.get(law)
        missing = [name for name in chosen.inputs if not ladder.has(name)]
        if missing:
            raise FitError(f"the law {law} needs {missing[0]}, which the data do not have: choose another or add it")
        return [chosen]
    sizes = max(len(np.unique(np.round(s.inputs["n_params"], 6))) for s in ladder.series)
    names: tuple[str, ...] = (*BY_SIZE, *(name for least, name in BENT if sizes >= least))
    if varies(ladder, "n_tokens"):
        fixed = all(len(np.unique(series.inputs["n_params"])) == 1 for series in ladder.series)
        names = BY_DATA if fixed else BY_SIZE_AND_DATA
        if not fixed and repeats(ladder):
            names = (*names, "data_constrained")
    return [LAWS.get(name) for name in names]


def repeats(ladder: Ladder) -> bool:
    """Whether some runs saw their data more than once, and how much there was of it is known."""
    if not ladder.has("unique_tokens"):
        return False
    return bool((ladder.column("n_tokens") > ladder.column("unique_tokens") + 0.01).any())


def varies(ladder: Ladder, name: str) -> bool:
    """Whether an input takes three values or more that the other inputs do not determine."""
    if not ladder.has(name) or len(ladder.levels(name)) < 3:
        return False
    size = ladder.column("n_params")
    if len(np.unique(size)) < 2:
        return True
    return bool(abs(np.corrcoef(size, ladder.column(name))[0, 1]) < 0.99)


def estimator_name(name: str) -> str:
    """`name`, if it is an estimator.

    Raises:
        UsageError: it is not.
    """
    if name not in ESTIMATORS:
        raise UsageError(f"unknown estimator {name!r}: {did_you_mean(name, ESTIMATORS)}")
    return name
