"""Ways to a score at a target: through the test loss, through a loss of the task's own, straight from size or compute.

Each way is drawn jointly with what it goes through, and they are weighed by their errors at the sizes that rolling
hold-outs hid, each with all its steps: the loss as it would have been projected, then the score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from astraios.errors import DataError, FitError, UsageError, did_you_mean
from astraios.fit.curve import Array
from astraios.fit.ensemble import Ensemble
from astraios.fit.ensemble import build as build_laws
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder, Series
from astraios.fit.scores import by_size, from_loss
from astraios.fit.scores.by_size import SizeModel
from astraios.fit.scores.data import AT, ScoreData, with_checkpoints
from astraios.fit.scores.from_loss import ScoreModel
from astraios.fit.scores.rolling import COUNTED, rungs
from astraios.fit.targets import FLOPS_PER_TOKEN
from astraios.fit.weigh import candidates, splits

TEST, SIZE, COMPUTE = "test", "size", "compute"
OWN = ("answer_bits_per_byte", "answer_probability")
"""Metrics of a task that its other metrics go through, where they are there."""
PRIOR = {SIZE: 0.5, COMPUTE: 0.5}
"""Weight of a way before an error is seen, against 1 of those through a loss."""
Errors = dict[float, dict[str, float]]
"""Errors of a way by the log size from which a hold-out hid, and run."""


@dataclass(frozen=True)
class At:
    """Where a score is wanted, for the methods of an analysis."""

    names: tuple[str, ...]
    log_size: float
    log_tokens: float | None
    losses: Array | None
    """(methods, draws) of the test loss there."""
    count: int


class Route(Protocol):
    """One way."""

    @property
    def name(self) -> str:
        """test, size, compute, or the metric that it goes through."""

    @property
    def errors(self) -> Errors:
        """What it would have said of hidden sizes, less what was seen there, as shares."""

    def draw(self, rng: np.random.Generator, at: At) -> tuple[Array, Array]:
        """The mean and one new evaluation, (methods, draws) each; NaN for a method that it knows nothing of."""


@dataclass(frozen=True)
class ThroughLoss:
    """Through a loss: that of the test split, or one of the task's own with laws of its own."""

    name: str
    model: ScoreModel
    errors: Errors
    own: Ensemble | None = None
    """Laws of the task's own loss; None where the losses of the analysis are meant."""

    def draw(self, rng: np.random.Generator, at: At) -> tuple[Array, Array]:
        mean, new = (np.full((len(at.names), at.count), np.nan) for _ in range(2))
        losses = at.losses if self.own is None else self._projected(at)
        if losses is None:
            return mean, new
        for g, name in enumerate(at.names):
            if np.isfinite(losses[g]).all():
                mean[g], new[g] = self.model.draw(rng, losses[g], name)
        return mean, new

    def _projected(self, at: At) -> Array:
        assert self.own is not None
        ladder, found = self.own.ladder, np.full((len(at.names), at.count), np.nan)
        drawn = np.exp(self.own.project({"n_params": np.full((len(ladder), 1), at.log_size)}).draws[:, :, 0])
        for g, name in enumerate(at.names):
            if name in ladder.names:
                found[g] = np.resize(drawn[ladder.names.index(name)], at.count)
        return found


@dataclass(frozen=True)
class Straight:
    """From size, or from compute."""

    name: str
    model: SizeModel
    errors: Errors

    def draw(self, rng: np.random.Generator, at: At) -> tuple[Array, Array]:
        mean, new = (np.full((len(at.names), at.count), np.nan) for _ in range(2))
        place = at.log_size
        if self.name == COMPUTE:
            if at.log_tokens is None:
                return mean, new
            place += at.log_tokens + np.log(FLOPS_PER_TOKEN)
        for found, drawn in zip((mean, new), self.model.draw(rng, place, at.count), strict=True):
            for g, name in enumerate(at.names):
                if name in self.model.names:
                    found[g] = drawn[self.model.names.index(name)]
        return mean, new


@dataclass(frozen=True)
class Routes:
    """All ways to one metric, and their weights."""

    ways: tuple[Route, ...]
    weights: Array
    errors: tuple[float, ...]
    """Root mean square of each way's errors where all were tried; NaN where nothing was hidden."""
    notes: tuple[FitWarning, ...] = ()

    def draw(self, rng: np.random.Generator, at: At) -> tuple[Array, Array]:
        """The mean and one new evaluation, (methods, draws) each; NaN for a method that no way knows."""
        drawn = [way.draw(rng, at) for way in self.ways]
        which = rng.choice(len(self.ways), at.count, p=self.weights)
        mean, new = (np.full((len(at.names), at.count), np.nan) for _ in range(2))
        for k in np.argsort(self.weights):
            for found, part in zip((mean, new), drawn[k], strict=True):
                use = np.isfinite(part) & ((which == k) | ~np.isfinite(found))
                found[use] = part[use]
        return mean, new

    def to_dict(self) -> list[dict[str, object]]:
        """As a fit keeps them."""
        return [
            {"through": way.name, "weight": float(w), "rolling_error": float(e) if np.isfinite(e) else None}
            for way, w, e in zip(self.ways, self.weights, self.errors, strict=True)
        ]


def build(
    data: ScoreData, losses: Ensemble | None, own: Sequence[ScoreData], *, link: str, through: str, seed: int
) -> Routes:
    """All ways to a metric that there are, weighed; or the one that is named.

    Args:
        data: one metric of one task.
        losses: laws of the test losses of the same runs; None where there are none.
        own: other metrics of the task that may be gone through.
        link: a link, or auto.
        through: test, size, compute, a metric of `own`, or auto.
        seed: of the laws of the task's own losses.

    Raises:
        UsageError: there is no such way.
    """
    notes: list[FitWarning] = []
    ways: list[Route] = []
    apart = losses is not None and losses_apart(data)
    if losses is not None and through in ("auto", TEST) and not (apart and through == "auto"):
        model = from_loss.build(with_checkpoints(data), link)
        ways.append(ThroughLoss(TEST, model, _errors_of(model, losses)))
    if apart:
        notes.append(_apart(data))
    for other in own:
        if through in ("auto", other.metric):
            ways += _through(data, other, link, seed)
    compute = _compute(data)
    if through == SIZE or (through == "auto" and compute is None):
        model_of_size = by_size.build(data, link)
        ways.append(Straight(SIZE, model_of_size, _named(data, model_of_size)))
    if compute is not None and through in ("auto", COMPUTE):
        model_of_compute = by_size.build(compute, link, [data.log_size < cut - 1e-9 for cut in _cuts(data)])
        ways.append(Straight(COMPUTE, model_of_compute, _named(data, model_of_compute)))
    if not ways:
        names = [*([TEST] if losses is not None else []), *(one.metric for one in own), SIZE]
        names += [COMPUTE] if compute is not None else []
        raise UsageError(
            f"--through {through}: {data.task_id} has no such way to its {data.metric}: {did_you_mean(through, names)}"
        )
    weights, errors = _weigh(ways, float(np.mean(data.stderr**2)))
    return Routes(tuple(ways), weights, errors, tuple(notes))


def outputs(data: Sequence[ScoreData], through: str) -> list[ScoreData]:
    """What is predicted: all metrics but those that others go through, unless a task has nothing else."""
    inner = {*OWN, through}
    found = [one for one in data if one.metric not in inner]
    there = {one.task_id for one in found}
    return [one for one in data if one.metric not in inner or one.task_id not in there]


def beside(data: Sequence[ScoreData], one: ScoreData, through: str) -> list[ScoreData]:
    """Metrics of the same task that a metric may go through."""
    inner = {*OWN, through}
    return [other for other in data if other.task_id == one.task_id and other.metric in inner and other is not one
            and other.metric != one.metric]  # fmt: skip


def losses_apart(data: ScoreData) -> bool:
    """Whether methods' losses lie in ranges apart while their scores do not: losses of different data, most likely."""
    group = np.array(data.group)
    names = sorted(set(group), key=lambda name: float(data.loss[group == name].min()))
    if len(names) < 2 or not np.isfinite(data.loss).all():
        return False
    top = -np.inf
    for k, name in enumerate(names):
        mine = group == name
        if k and data.loss[mine].min() > top:
            better, worse = data.value[np.isin(group, names[:k])], data.value[np.isin(group, names[k:])]
            shared = min(better.max(), worse.max()) - max(better.min(), worse.min())
            if shared > 0.5 * min(np.ptp(better), np.ptp(worse)) and shared > 4 * float(np.median(data.stderr)):
                return True
        top = max(top, float(data.loss[mine].max()))
    return False


def _apart(data: ScoreData) -> FitWarning:
    return FitWarning(
        "different_losses",
        f"{data.task_id}: some methods' losses lie in a range of their own while their scores do not, as losses of "
        "different data do: no link goes through them (--through test makes one)",
        data.task_id,
    )


def _through(data: ScoreData, other: ScoreData, link: str, seed: int) -> list[Route]:
    """The way through another metric of the task: laws of it, and a link."""
    paired = _paired(data, other)
    if paired is None:
        return []
    ladder = _ladder(other)
    try:
        laws = build_laws(candidates("auto", ladder), ladder, "huber", seed)
    except (FitError, DataError):
        return []
    model = from_loss.build(paired, link)
    return [ThroughLoss(other.metric, model, _errors_of(model, laws), laws)]


def _as_loss(data: ScoreData) -> Array:
    """A metric as something that falls: as it is where less is better, else minus its logarithm."""
    return -np.log(np.clip(data.value, 1e-12, None)) if data.higher_is_better else data.value


def _paired(data: ScoreData, other: ScoreData) -> ScoreData | None:
    """Scores with another metric of the same runs in the place of the loss; None unless four runs have both."""
    loss = dict(zip(other.run_id, _as_loss(other), strict=True))
    both = np.array([run in loss and loss[run] > 0 for run in data.run_id])
    if both.sum() < 4 or len(np.unique(data.log_size[both])) < 3:
        return None
    kept = data.keep(both)
    return replace(kept, loss=np.array([loss[run] for run in kept.run_id]))


def _ladder(data: ScoreData) -> Ladder:
    """A metric as losses that laws are fitted to."""
    group, loss, found = np.array(data.group), _as_loss(data), []
    for name in sorted(set(data.group)):
        rows = np.flatnonzero((group == name) & (loss > 0))
        rows = rows[np.argsort(data.log_size[rows], kind="stable")]
        runs = tuple(data.run_id[i] for i in rows)
        found.append(Series(name, {"n_params": data.log_size[rows]}, np.log(loss[rows]), runs, (None,) * len(rows)))
    return Ladder(tuple(one for one in found if len(one)), "one_minus_score" if data.higher_is_better else "nats")


def _compute(data: ScoreData) -> ScoreData | None:
    """Scores with the log of the training compute in the place of the log size; None where it says no more."""
    if data.log_tokens is None or not np.isfinite(data.log_tokens).all():
        return None
    if len(np.unique(np.round(data.log_tokens, 3))) < 3 or len(np.unique(data.log_size)) < 2:
        return None
    if abs(float(np.corrcoef(data.log_size, data.log_tokens)[0, 1])) > 0.99:
        return None
    return replace(data, log_size=data.log_size + data.log_tokens + np.log(FLOPS_PER_TOKEN))


def _cuts(data: ScoreData) -> list[float]:
    return rungs(data.log_size)[:1:-1][:2]


def _key(log_size: float) -> float:
    return round(float(log_size), 2)


def _named(data: ScoreData, model: SizeModel) -> Errors:
    """Errors of a way straight from size or compute, under the size from which was hidden."""
    sizes = dict(zip(data.run_id, data.log_size, strict=True))
    return {_key(min(sizes[run] for run in one)): one for one in model.tested if one}


def _errors_of(model: ScoreModel, losses: Ensemble) -> Errors:
    """Errors of a way through a loss, which is what would have been projected from the sizes that were not hidden."""
    found: Errors = {}
    for projected in _projected(losses):
        for seen in model.splits:
            hidden = model.shares.keep(~seen)
            runs = {run for run in hidden.run_id if AT not in run}
            if runs and runs <= projected.keys() and not set(model.shares.keep(seen).run_id) & projected.keys():
                loss = np.array([projected.get(run, own) for run, own in zip(hidden.run_id, hidden.loss, strict=True)])
                errors = dict(zip(hidden.run_id, map(float, from_loss.errors_at(model, seen, loss)), strict=True))
                found[_key(hidden.log_size.min())] = {run: errors[run] for run in runs}
    return found


def _projected(losses: Ensemble) -> list[dict[str, float]]:
    """For each rolling hold-out of the laws the loss that they would have projected, by run."""
    inputs = list(dict.fromkeys(name for fit in losses.fits for name in fit.law.inputs))
    found = []
    for s, part in enumerate(splits(losses.ladder, inputs)):
        off = sum(w * one.errors[s] for w, one in zip(losses.weights, losses.rollings, strict=True))
        runs = [run for series in part.hidden.series for run in series.run_id]
        logs = np.concatenate([series.log_loss for series in part.hidden.series]) + off
        found.append(dict(zip(runs, map(float, np.exp(logs)), strict=True)))
    return found


def _weigh(ways: Sequence[Route], noise: float) -> tuple[Array, tuple[float, ...]]:
    """Weights from the errors at what every way was tried on; without any, the first way alone."""
    common = set.intersection(*(set(way.errors) for way in ways))
    tried = {cut: set.intersection(*(set(way.errors[cut]) for way in ways)) for cut in common}
    tried = {cut: runs for cut, runs in tried.items() if runs}
    if len(ways) == 1 or not tried:
        return np.eye(len(ways))[0], tuple(float("nan") for _ in ways)
    squares = [[np.mean([way.errors[cut][run] ** 2 for run in runs]) for cut, runs in tried.items()] for way in ways]
    score = np.array([np.mean(np.log(np.array(mine) + noise / 4)) for mine in squares])
    counted = min(COUNTED, sum(map(len, tried.values())))
    prior = np.array([PRIOR.get(way.name, 1.0) for way in ways])
    weights = prior * np.exp(-0.5 * counted * (score - score.min()))
    return weights / weights.sum(), tuple(float(np.sqrt(np.mean(mine))) for mine in squares)
