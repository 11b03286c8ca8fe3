"""Observations: checked, sorted, and packed so that many series can be fitted at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import DataError, FitError
from astraios.fit.curve import Array, Mask
from astraios.fit.quantities import infer
from astraios.fit.quantities import quantity as quantity_of

if TYPE_CHECKING:
    import polars as pl


MANY_ROWS = 1000
"""Rows of sizes alone from which on a series is fitted by its means."""
MANY_SIZES = 200
ROW = "row "
"""Beginning of the ids of rows that no run is named for."""
RISE = 0.002
"""Rise of a log loss that is more than noise between seeds."""


@dataclass(frozen=True)
class Series:
    """One curve: the runs of one group, sorted by size and data, in natural logarithms."""

    name: str
    inputs: dict[str, Array]
    """Log of each input by column, (points,) each."""
    log_loss: Array
    run_id: tuple[str, ...]
    seed: tuple[int | None, ...]
    base: tuple[str, ...] = ()
    """Base model of each run, or empty where that is not known."""
    weight: Array | None = None
    """Runs behind each point, (points,), where points are means of runs."""
    within: Array | None = None
    """Sum of squares of those runs around their mean, (points,)."""

    def __len__(self) -> int:
        return len(self.log_loss)

    @cached_property
    def rises(self) -> bool:
        """Whether the loss at the largest size is higher than at a smaller one, by more than 0.2 %."""
        size = self.inputs.get("n_params")
        if size is None or len(self.inputs) > 1:
            return False
        _, level = np.unique(size, return_inverse=True)
        means = np.bincount(level, self.log_loss) / np.bincount(level)
        return len(means) > 1 and bool(means[-1] > means[:-1].min() + RISE)

    def keep(self, mask: Mask) -> Series:
        """The points where `mask` is true."""
        rows = np.flatnonzero(mask)
        return Series(
            self.name,
            {name: column[rows] for name, column in self.inputs.items()},
            self.log_loss[rows],
            tuple(self.run_id[i] for i in rows),
            tuple(self.seed[i] for i in rows),
            tuple(self.base[i] for i in rows) if self.base else (),
            None if self.weight is None else self.weight[rows],
            None if self.within is None else self.within[rows],
        )

    def once(self) -> Series:
        """Without rows that repeat another exactly: a copy is no second run."""
        table = np.column_stack([*self.inputs.values(), self.log_loss])
        first = np.unique(table, axis=0, return_index=True)[1]
        return self if len(first) == len(self) else self.keep(np.isin(np.arange(len(self)), first))

    def means(self) -> Series:
        """A mean for each size, with its count and scatter; sizes within 2 % are one where there are hundreds."""
        size = self.inputs["n_params"]
        if len(np.unique(size)) > MANY_SIZES:
            _, cell = np.unique(np.round(size / 0.02), return_inverse=True)
        else:
            _, cell = np.unique(size, return_inverse=True)
        count: Array = np.bincount(cell, np.ones(len(cell))).astype(np.float64)
        mean = np.bincount(cell, self.log_loss) / count
        within: Array = np.bincount(cell, (self.log_loss - mean[cell]) ** 2).astype(np.float64)
        blank = ("",) * len(count)
        return Series(
            self.name, {"n_params": np.bincount(cell, size) / count}, mean, blank, (None,) * len(count),
            blank if self.base else (), count, within,
        )  # fmt: skip


LITTLE = 0.2
"""Share of a size's luck that lets priors pull at a curve whose levels themselves show how it bends."""


@dataclass(frozen=True)
class Bases:
    """Base models that were pretrained several times."""

    spread: float
    """Standard deviation of the log loss between bases of one size."""
    deviation: dict[str, float]
    """Each base's estimated deviation, by model; what was taken from its runs' log losses."""
    count: dict[float, int]
    """Bases by log size (rounded to 6 digits)."""


@dataclass(frozen=True)
class Luck:
    """What all runs of one size share: the deviation of the base models that they start from."""

    spread: float
    """Standard deviation of the log loss between bases of one size."""
    count: dict[float, int]
    """Bases by log size (rounded to 6 digits)."""
    freedom: float = np.inf
    """Degrees of freedom behind the spread; infinite where it was measured or given."""
    assumed: bool = False
    """Whether the spread is a prior's, with what the curve's residuals add: one base a size shows no luck."""
    pull: float = LITTLE
    """Share of the luck that the priors of curves are weighed against (see `astraios.fit.typical`)."""

    def sizes(self, rng: np.random.Generator, draws: int) -> Array:
        """The spread in each draw, (draws,): as uncertain as its degrees of freedom say."""
        if not np.isfinite(self.freedom):
            return np.full(draws, self.spread)
        return self.spread * np.sqrt(self.freedom / rng.chisquare(self.freedom, draws))

    def common(self, log_size: Array, rng: np.random.Generator, spreads: Array) -> Array:
        """Noise that all methods share at each point's size, (draws, points), for the spread of each draw."""
        levels = sorted(self.count)
        drawn = spreads[:, None] * rng.standard_normal((len(spreads), len(levels)))
        drawn = drawn / np.sqrt([self.count[v] for v in levels])
        return drawn[:, np.searchsorted(levels, np.round(log_size, 6))]


@dataclass(frozen=True)
class Ladder:
    """All series of an analysis, and what they have in common."""

    series: tuple[Series, ...]
    quantity: str = "nats"
    """What is fitted, by name (see `astraios.fit.quantities`): the floor's prior follows it."""
    bases: Bases | None = None
    """What was taken out of the losses because runs share their base (see `astraios.fit.bases`)."""
    luck: Luck | None = None
    """What is left of it, or has to be assumed: noise that all series share at a size."""

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Any:
        return iter(self.series)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the series."""
        return tuple(series.name for series in self.series)

    def column(self, name: str) -> Array:
        """One input over all series, (all points,)."""
        return np.concatenate([series.inputs[name] for series in self.series])

    def levels(self, name: str) -> Array:
        """Distinct values of one input (log), ascending."""
        return np.unique(self.column(name))

    def has(self, name: str) -> bool:
        """Whether every series has this input."""
        return all(name in series.inputs for series in self.series)

    def keep(self, masks: Sequence[Mask]) -> Ladder:
        """The points where each series' mask is true, without series that become empty."""
        kept = [series.keep(mask) for series, mask in zip(self.series, masks, strict=True)]
        return Ladder(tuple(series for series in kept if len(series)), self.quantity, self.bases, self.luck)

    def compact(self) -> Ladder:
        """What a fit works on: repeated rows once, and long series of sizes alone as means with counts."""
        kept = [one.once() for one in self.series]
        kept = [one.means() if set(one.inputs) == {"n_params"} and len(one) > MANY_ROWS else one for one in kept]
        return replace(self, series=tuple(kept))

    def below(self, name: str, log_value: float) -> Ladder:
        """The points whose input is smaller than a value (log)."""
        return self.keep([series.inputs[name] < log_value - 1e-9 for series in self.series])

    def pack(self, inputs: Sequence[str], centre: Array) -> tuple[Array, Array, Array]:
        """x (inputs, series, points), y (series, points) and weights, padded with points of weight 0."""
        width = max(len(series) for series in self.series)
        x = np.zeros((len(inputs), len(self), width))
        y, weights = np.zeros((len(self), width)), np.zeros((len(self), width))
        for g, series in enumerate(self.series):
            n = len(series)
            for i, name in enumerate(inputs):
                x[i, g, :n] = series.inputs[name] - centre[i]
                x[i, g, n:] = x[i, g, 0]
            y[g, :n], y[g, n:], weights[g, :n] = series.log_loss, series.log_loss[0], 1.0
            if series.weight is not None:
                weights[g, :n] = series.weight
        return x, y, weights

    def measured(self, g: int) -> Array:
        """Log losses of one series as they were measured, (points,): with what was taken out for its bases."""
        series = self.series[g]
        if self.bases is None:
            return series.log_loss
        return series.log_loss + np.array([self.bases.deviation[base] for base in series.base])

    def spreads(self, rng: np.random.Generator, draws: int) -> Array:
        """Spread of the sizes' luck in each draw, (draws,); 0 without luck."""
        return np.zeros(draws) if self.luck is None else self.luck.sizes(rng, draws)

    def hash(self) -> str:
        """SHA-256 over everything a fit can see, independent of the order of rows."""
        digest = hashlib.sha256(b"" if self.quantity == "nats" else self.quantity.encode())
        for series in self.series:
            digest.update(series.name.encode())
            for name in sorted(series.inputs):
                digest.update(name.encode() + np.round(series.inputs[name], 12).tobytes())
            digest.update(series.log_loss.tobytes() + "\x00".join(series.run_id).encode())
        return digest.hexdigest()


def read(
    frame: pl.DataFrame, *, loss: str = "loss", inputs: dict[str, str] | None = None, group: str | None = None,
    quantity: str | None = None,
) -> Ladder:  # fmt: skip
    """Check a frame and make its series.

    Args:
        frame: one row a run.
        loss: column of the losses (nats).
        inputs: column of each input, by the input's name: {"n_params": "n_params", "n_tokens": "tokens"}.
        group: column that names the series; without it all rows are one.
        quantity: what is fitted; by default what the column looks like.

    Raises:
        UsageError: an unknown quantity.
        DataError: no rows, a missing column, a loss or size that is not a positive number.
    """
    inputs = inputs or {"n_params": "n_params"}
    wanted = [loss, *inputs.values(), *([group] if group else [])]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise DataError(f"no column {missing[0]!r} in the data: it has {', '.join(frame.columns) or 'none'}")
    if frame.is_empty():
        raise DataError("no rows to fit: collect or import some runs first")
    columns = {name: numbers(frame, column, "a positive number") for name, column in inputs.items()}
    losses = numbers(frame, loss, "a positive loss in nats")
    if group:
        check_named(frame, group)
    keys = [str(key) for key in frame[group].to_list()] if group else ["all"] * len(frame)
    runs = [str(run) for run in frame["run_id"]] if "run_id" in frame.columns else [""] * len(frame)
    bases = [str(base or "") for base in frame["model_id"]] if "model_id" in frame.columns else []
    seeds = frame["seed"].to_list() if "seed" in frame.columns else [None] * len(frame)
    series = []
    members: dict[str, list[int]] = {}
    for i, key in enumerate(keys):
        members.setdefault(key, []).append(i)
    for name, rows in sorted(members.items()):
        rows.sort(key=lambda i: (*(columns[c][i] for c in columns), runs[i], losses[i]))
        series.append(
            Series(
                name,
                {c: np.log(columns[c][rows]) for c in columns},
                np.log(losses[rows]),
                tuple(runs[i] for i in rows),
                tuple(seeds[i] for i in rows),
                tuple(bases[i] for i in rows) if bases else (),
            )
        )
    return Ladder(tuple(series), quantity_of(quantity).name if quantity else infer(loss, losses))


def numbers(frame: pl.DataFrame, column: str, what: str) -> Array:
    """A column as floats.

    Raises:
        DataError: a value is not a positive number; the line names the column and the row.
    """
    import polars as pl

    try:
        values = frame[column].cast(pl.Float64).to_numpy()
    except pl.exceptions.PolarsError:
        raise DataError(f"column {column!r} holds something that is not {what}") from None
    bad = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if bad.size:
        shown = frame[column][int(bad[0])]
        count = f"({bad.size} such row{'s' if bad.size > 1 else ''})"
        if "run_id" in frame.columns and not str(frame["run_id"][int(bad[0])]).startswith(ROW):
            runs = " ".join(str(frame["run_id"][int(row)]) for row in bad[:20])
            raise DataError(
                f"run {frame['run_id'][int(bad[0])]}: {column} {shown} is not {what} {count}: repair, or leave out "
                f"with `astraios exclude {runs} --reason diverged`"
            )
        raise DataError(f"column {column!r}, row {int(bad[0])}: {shown} is not {what} {count}: drop or repair")
    return values


def check_named(frame: pl.DataFrame, column: str) -> None:
    """Refuse rows that belong to no series.

    Raises:
        DataError: the column that names the series is empty in some row.
    """
    count = frame[column].null_count()
    if count:
        row = int(np.flatnonzero(frame[column].is_null().to_numpy())[0])
        raise DataError(f"column {column!r}, row {row}: no name of a series ({count} such rows): name or drop them")


def require_sizes(ladder: Ladder, pooled: bool) -> None:
    """Refuse what no method can determine.

    Raises:
        FitError: one size only, or two sizes in every series without other series to pool with.
    """
    counts = [np.unique(np.round(np.column_stack(list(s.inputs.values())), 9), axis=0).shape[0] for s in ladder.series]
    most = max(counts)
    if most < 2:
        raise FitError("one size only: a curve needs two sizes at least, three to say something about its bend")
    if most == 2 and not pooled:
        raise FitError("two sizes and nothing to pool with: add a third size, or fit several groups together")


def fit_id(ladder: Ladder, law: str, estimator: str, level: float, seed: int, *more: object) -> str:
    """Hash of data, law, estimator, level, seed and whatever else tells two fits apart."""
    key = json.dumps([ladder.hash(), law, estimator, level, seed, *map(str, more)])
    return hashlib.sha256(key.encode()).hexdigest()[:16]
