"""Choosing and weighing laws by what they would have predicted: rolling leave-largest-out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astraios.errors import FitError, UsageError, did_you_mean
from astraios.fit.curve import Array
from astraios.fit.fitting import pool
from astraios.fit.laws import LAWS, Law
from astraios.fit.observations import Ladder, Series
from astraios.fit.pooling import ESTIMATORS, PooledFit

BY_SIZE = ("power_offset", "power")
BY_SIZE_AND_DATA = ("chinchilla", "skaling", "interaction")
BY_DATA = ("rectified", "data_power")
BENT = ((6, "shifted_power"), (8, "bounded"), (10, "broken_power"))
"""Further laws of size alone, and the sizes from which on there is something to tell them by."""
ALIKE, MOST_ALIKE = "relative", 40
"""The law of series that share their curve, and the series up to which it is tried: its one problem grows with them."""
SAME = 0.5
"""Its weight before an error is seen."""
DOUBT = 0.25
"""Weight of a law of size that bends otherwise before an error is seen, against 1 of `power_offset`; the quantity says
what `power`, which has no floor, weighs."""
COUNTED = 4.0
"""Hidden points at most that rolling errors are worth in the weights: points of one size share their error."""
BARE = 0.25
"""What a split is worth whose training part keeps two levels of an input: there the bend is the prior's."""


@dataclass(frozen=True)
class Split:
    """A ladder with its largest points hidden."""

    train: Ladder
    hidden: Ladder
    reach: float
    """How far the hidden points lie beyond the training ones, in natural logarithms."""
    levels: int
    """Levels that the training part keeps, of the input that keeps fewest."""
    worth: float
    """Squared share of the points that it keeps, less with two levels: the fewer points, the less alike the fits."""


@dataclass(frozen=True)
class Rolling:
    """Errors of one law over the splits: log predicted - log observed, one array a split (points of all series)."""

    law: Law
    errors: tuple[Array, ...]
    groups: tuple[tuple[str, ...], ...]
    reach: tuple[float, ...]
    expected: tuple[Array, ...]
    """Variances of the predictions as the fit's own curvature has them, without noise."""
    levels: tuple[int, ...]
    worth: tuple[float, ...]
    fits: tuple[PooledFit, ...] = ()
    """The law fitted to what each split keeps."""
    alone: bool = False
    """Whether series keep their shapes to themselves."""

    @property
    def pooled(self) -> float:
        """Mean square over the splits by their worth: one split far off counts, as one projection far off would."""
        return float(np.average([np.mean(e**2) for e in self.errors], weights=self.worth))

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
    levels = min(len(np.unique(np.round(train.column(name), 6))) for name in inputs)
    kept = sum(map(len, train.series)) / sum(map(len, ladder.series))
    return Split(train, hidden, max(float(far.mean()), 1e-3), levels, kept**2 * (BARE if levels < 3 else 1.0))


def predict_points(fit: PooledFit, ladder: Ladder) -> tuple[Array, Array]:
    """Log predictions at the points of `ladder`, whose series the fit knows, and variances; (all points,) both."""
    known = {name: g for g, name in enumerate(fit.ladder.names)}
    means, variances = [], []
    for series in ladder.series:
        g = known[series.name]
        x = np.stack([series.inputs[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
        mean, slope = (part[0] for part in fit.law.evaluate(fit.theta[g][None], x))
        means.append(mean)
        variances.append(fit.variance(g, slope))
    return np.concatenate(means), np.concatenate(variances)


def roll(law: Law, parts: Sequence[Split], estimator: str, seed: int) -> Rolling:
    """What `law` would have predicted for each split.

    Series may share their shape or not: with one law's curves they do where the hold-outs are met better so.
    """
    either = bool(parts) and not law.tied and all(len(part.train) > 1 and part.train.luck is None for part in parts)
    fits = [pool(law, part.train, estimator, seed, 8, alone=either) for part in parts]
    found = _rolled(law, parts, fits, either)
    if not either:
        return found
    fits = [pool(law, one.ladder, estimator, seed, 8, begun=one) for one in fits]
    return min(found, _rolled(law, parts, fits, False), key=lambda one: one.pooled)


def _rolled(law: Law, parts: Sequence[Split], fits: Sequence[PooledFit], alone: bool) -> Rolling:
    seen = [predict_points(fit, part.hidden) for fit, part in zip(fits, parts, strict=True)]
    losses = [np.concatenate([s.log_loss for s in part.hidden.series]) for part in parts]
    return Rolling(
        law,
        tuple(mean - loss for (mean, _), loss in zip(seen, losses, strict=True)),
        tuple(tuple(s.name for s in part.hidden.series for _ in range(len(s))) for part in parts),
        tuple(part.reach for part in parts),
        tuple(variance for _, variance in seen),
        tuple(part.levels for part in parts),
        tuple(part.worth for part in parts),
        tuple(fits),
        alone,
    )


def weigh(rollings: Sequence[Rolling], noise: float, floorless: float = DOUBT) -> Array:
    """Weights of the laws from their rolling errors; laws whose errors are within the noise of one another share.

    Evidence is capped by the points that were hidden. Without a split that keeps three levels it may speak against a
    doubted law and not for it: two levels fit any law, and which extrapolates best is luck.

    Args:
        noise: of one point's log loss.
        floorless: weight of `power` before an error is seen.
    """
    doubted = {"power": floorless, **dict.fromkeys((name for _, name in BENT), DOUBT)} if len(rollings) > 1 else {}
    begin = {ALIKE: SAME, **doubted}
    prior = np.array([begin.get(one.law.name, 1.0) for one in rollings])
    prior = prior / prior.sum()
    if not rollings[0].errors:
        return prior
    score = np.log([one.pooled + noise**2 for one in rollings])
    counted = min(COUNTED, float(np.average([len(e) for e in rollings[0].errors], weights=rollings[0].worth)))
    weight = prior * np.exp(-0.5 * counted * (score - score.min()))
    weight = weight / weight.sum()
    if max(rollings[0].levels) > 2:
        return weight
    capped = np.array([one.law.name in doubted for one in rollings]) & (weight > prior)
    free = ~capped
    weight = np.where(capped, prior, weight)
    return np.where(free, weight * (1 - weight[capped].sum()) / weight[free].sum(), weight)


def candidates(law: str, ladder: Ladder, named: Sequence[str] = ()) -> list[Law]:
    """The laws that "auto" considers for these data, or the one that is named.

    Args:
        law: a name, or auto.
        ladder: the runs.
        named: further inputs that were named: laws that take them all are considered too.

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
    elif comparable(ladder) and not named:
        names = (*names, ALIKE)
    if named:
        taken = [one.name for one in LAWS if set(named) <= set(one.inputs) and all(map(ladder.has, one.inputs))]
        names = (*names, *taken)
    return [LAWS.get(name) for name in names]


def comparable(ladder: Ladder) -> bool:
    """Whether the series have three sizes in common, but for those that rise: one shifted curve may hold."""
    sizes = [set(np.round(series.inputs["n_params"], 6)) for series in ladder.series if not series.rises]
    if not 3 <= len(sizes) <= MOST_ALIKE:
        return False
    return len(set.intersection(*sizes)) > 2


def repeats(ladder: Ladder) -> bool:
    """Whether some runs saw their data more than once, and how much there was of it is known."""
    if not ladder.has("unique_tokens"):
        return False
    return bool((ladder.column("n_tokens") > ladder.column("unique_tokens") + 0.01).any())


def varies(ladder: Ladder, name: str) -> bool:
    """Whether an input takes values that the others do not determine: three, or two that are crossed with size."""
    if not ladder.has(name) or len(ladder.levels(name)) < 2:
        return False
    if len(ladder.levels(name)) == 2 and not any(_crossed(series, name) for series in ladder.series):
        return False
    size = ladder.column("n_params")
    if len(np.unique(size)) < 2:
        return True
    return bool(abs(np.corrcoef(size, ladder.column(name))[0, 1]) < 0.99)


def _crossed(series: Series, name: str) -> bool:
    """Whether two sizes of a series have several values of an input each."""
    sizes = np.unique(np.round(series.inputs["n_params"], 9))
    values = [np.unique(series.inputs[name][np.isclose(series.inputs["n_params"], size)]) for size in sizes]
    return sum(len(found) > 1 for found in values) > 1


def estimator_name(name: str) -> str:
    """`name`, if it is an estimator.

    Raises:
        UsageError: it is not.
    """
    if name not in ESTIMATORS:
        raise UsageError(f"unknown estimator {name!r}: {did_you_mean(name, ESTIMATORS)}")
    return name
