"""Axes of a study and their roles: what is an input of the law, what is compared, tuned, repeated, and what is held.

An axis is a fact that takes more than one value among the runs of a series. Each has exactly one role; one that has
none is an error that names the ways out, never an average. Runs that agree in series and inputs make a point: along
its tuned axes the best value counts (`astraios.fit.tuned`), along its repeated ones the runs are replicates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import UsageError, did_you_mean
from astraios.fit.notes import FitWarning
from astraios.fit.tuned import OptimumLaw, TunedSeries, at_best

if TYPE_CHECKING:
    import polars as pl

TUNED = (
    "learning_rate", "lr", "peak_learning_rate", "batch_size", "tokens_per_step", "schedule", "lr_scheduler",
    "lr_scheduler_type", "final_learning_rate", "warmup", "warmup_steps", "warmup_ratio", "weight_decay",
)  # fmt: skip
"""Facts that a lab chooses well: each series counts at its own best value."""
REPEAT = ("seed", "model_id", "model", "base_model")
"""Facts that are noise: the seed, and which base model of one size."""
ORIGIN = ("origin",)
STRICT = ("dataset_id", *ORIGIN)
"""Facts that need a role even where they follow from the series: what differs there is no method's merit."""
MARKS = ("run_id", "run", "id", "name", "run_name", "uuid", "created_at", "date", "time", "timestamp", "step", "_step")
"""Columns that name a run or its moment; they say nothing about how it was made."""
SHOWN = 6
MOST_LEVELS = 12
"""A setting of a user's own table has no more values than this, or comes back in most runs."""


@dataclass(frozen=True)
class Roles:
    """What the user said about axes (--by, --where, --best-over, --repeat)."""

    by: tuple[str, ...] = ()
    where: tuple[tuple[str, str], ...] = ()
    """Pairs of a fact and a value; values of one fact add up."""
    best_over: tuple[str, ...] = ()
    repeat: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        said: dict[str, str] = {}
        for option, facts in (("--by", self.by), ("--best-over", self.best_over), ("--repeat", self.repeat)):
            for fact in facts:
                if fact in said:
                    raise UsageError(f"{fact} has two roles, {said[fact]} and {option}: give it one")
                said[fact] = option

    @property
    def facts(self) -> tuple[str, ...]:
        """All facts that are named."""
        return (*self.by, *(fact for fact, _ in self.where), *self.best_over, *self.repeat)


@dataclass(frozen=True)
class Axis:
    """One fact with its role."""

    fact: str
    role: str
    """input, series, tuned, repeat or fixed."""
    values: tuple[Any, ...]
    """The values that it takes, ascending."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON prints it."""
        return {"fact": self.fact, "role": self.role, "values": list(self.values)}

    @property
    def text(self) -> str:
        """For people, in one line."""
        return f"{self.fact}: {self.role}, {_shown(self.values)}"


@dataclass(frozen=True)
class Optimum:
    """Where one tuned axis of one series is best, at one point or at a target."""

    series: str
    fact: str
    law: OptimumLaw
    inputs: tuple[str, ...]

    def at(self, point: Mapping[str, float | None], level: float) -> dict[str, Any]:
        """The best value at inputs in natural units, with its interval."""
        value, low, high = self.law.at(np.log([float(point[name] or 0) for name in self.inputs]), level)
        return {
            "series": self.series, "fact": self.fact, "n_params": point.get("n_params"),
            "n_tokens": point.get("n_tokens"), "value": value, "low": low, "high": high,
        }  # fmt: skip


@dataclass(frozen=True)
class Member:
    """A run behind a tuned point."""

    run_id: str
    series: str
    n_params: float
    n_tokens: float | None
    loss: float


@dataclass(frozen=True)
class Points:
    """Runs sorted into series and points, ready to be fitted."""

    frame: pl.DataFrame
    """Columns series, the inputs, loss, run_id, seed and model_id where they are known: a row a run, or a row a point
    where the point was tuned."""
    axes: tuple[Axis, ...]
    optima: tuple[Optimum, ...] = ()
    warnings: tuple[FitWarning, ...] = ()
    members: tuple[Member, ...] = ()
    """Runs behind tuned points; those have no run_id of their own."""
    series_of: Mapping[str, str] = field(default_factory=dict)
    """Series by run_id."""
    run_noise: float | None = None
    """Standard deviation of a single run's log loss, where points were tuned."""


def arrange(
    frame: pl.DataFrame,
    *,
    inputs: Sequence[str],
    series: Sequence[str],
    roles: Roles,
    loss: str = "loss",
    settings: Sequence[str] = (),
    not_facts: Iterable[str] = (),
    curated: bool = False,
    only_axes: bool = False,
    named: Sequence[str] = (),
) -> Points:
    """Sorts runs into series and points by the roles of their facts.

    Args:
        frame: a row a run: the inputs, the loss, and the facts.
        inputs: columns of the law's inputs.
        series: columns that tell series apart by default.
        roles: what the user said.
        loss: column of losses.
        settings: facts that are settings of the first series column (a tuning method's rank); where one varies within
            a value of that column it makes series of its own.
        not_facts: columns that follow from others, or were measured.
        curated: whether every column that is left is a fact about how a run was made. Of a user's own table that is not
            known: there, columns that go with the inputs (a width) pass, and numbers that never come back are taken
            for measurements, with a warning.
        only_axes: look at the axes alone: one without a role has the role "none", and nothing is tuned.
        named: those of the inputs that were named beside size and data. A fact that goes with one of them (a
            quantization with its bits) is that input in other words.

    Raises:
        UsageError: an axis without a role, with the ways out; a fact that isn't there.
    """
    for fact in (*roles.facts, *inputs, *series):
        if fact not in frame.columns:
            raise UsageError(f"no fact {fact!r} in these runs: {did_you_mean(fact, frame.columns)}")
    frame, held = _hold(frame, roles)
    keys = list(dict.fromkeys((*series, *roles.by)))
    apart = {*inputs, *keys, loss, *not_facts, *MARKS} - {*roles.best_over, *roles.repeat}
    facts = [name for name in frame.columns if name not in apart and _is_plain(frame, name)]
    frame, used = _name_series(frame, keys, [name for name in settings if name in facts and name not in roles.facts])
    spread = _Spread.of(frame, [name for name in facts if name not in used], inputs)
    chosen, measured, lacking = _choose(frame, spread, roles, curated)
    same = [fact for fact in lacking if fact not in ORIGIN and _goes_with(frame, fact, named)]
    chosen, lacking = {**chosen, **dict.fromkeys(same, "input")}, [fact for fact in lacking if fact not in same]
    if lacking and not only_axes:
        raise UsageError(_ways_out(frame, lacking))
    chosen |= dict.fromkeys(lacking, "none")
    # Settings that only tell one method from another are what the method is, and no axis of their own.
    chosen = {fact: role for fact, role in chosen.items() if role != "series" or fact not in set(settings)}
    axes = [Axis(name, "input", _values(frame, name)) for name in inputs]
    axes += [Axis(name, "series", _values(frame, name)) for name in (*keys, *used)]
    axes += [Axis(fact, role, _values(frame, fact)) for fact, role in chosen.items()]
    axes = [axis for axis in axes if len(axis.values) > 1]
    axes += [Axis(fact, "fixed", values) for fact, values in held.items()]
    series_of = dict(frame.select("run_id", "series").iter_rows()) if "run_id" in frame.columns else {}
    points = Points(frame, tuple(axes), warnings=_measured_note(measured), series_of=series_of)
    tuned = [fact for fact, role in chosen.items() if role == "tuned" and fact in spread.in_point and not only_axes]
    # Repeats that shift a loss as a whole (another base) are tuned apart; seeds are noise around the curve.
    apart_too = [f for f, role in chosen.items() if role == "repeat" and f != "seed" and f in spread.in_point]
    return _tune(points, tuned, list(inputs), apart_too, loss) if tuned else points


def _hold(frame: pl.DataFrame, roles: Roles) -> tuple[pl.DataFrame, dict[str, tuple[Any, ...]]]:
    """The runs that --where leaves, and the facts that it holds."""
    import polars as pl

    wanted: dict[str, list[str]] = {}
    for fact, value in roles.where:
        wanted.setdefault(fact, []).append(value)
    for fact, values in wanted.items():
        known = frame[fact].unique().to_list()
        kept = [one for one in known if any(_equal(one, value) for value in values)]
        if not kept:
            raise UsageError(f"--where {fact}={values[0]}: no run has it; there are {_shown(_values(frame, fact))}")
        frame = frame.filter(pl.Series([one in kept for one in frame[fact].to_list()], dtype=pl.Boolean))
    return frame, {fact: _values(frame, fact) for fact in wanted}


def _equal(one: Any, text: str) -> bool:
    if one is None:
        return text.lower() in ("", "null", "none")
    if isinstance(one, bool):
        return text.lower() == str(one).lower()
    if isinstance(one, int | float):
        try:
            return bool(np.isclose(float(one), float(text), rtol=1e-9, atol=0))
        except ValueError:
            return False
    return str(one) == text


def _is_plain(frame: pl.DataFrame, name: str) -> bool:
    return not (frame.schema[name].is_nested() or frame.schema[name].is_temporal())


def _name_series(frame: pl.DataFrame, keys: Sequence[str], inner: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """The column series, and the settings that vary within a value of the first key and so are part of it."""
    import polars as pl

    if not keys:
        return frame.with_columns(series=pl.lit("all")), []
    first, *others = keys
    vary = {value: [name for name in inner if part[name].n_unique() > 1] for (value,), part in frame.group_by(first)}
    names = []
    for row in frame.select(first, *others, *inner).iter_rows(named=True):
        parts = [f"{name}={_text(row[name])}" for name in (*others, *vary[row[first]])]
        names.append(" ".join([_text(row[first]), *parts]))
    used = list(dict.fromkeys(name for found in vary.values() for name in found))
    return frame.with_columns(series=pl.Series(names, dtype=pl.String)), used


@dataclass(frozen=True)
class _Spread:
    """Facts by where they take several values."""

    in_point: tuple[str, ...]
    """Within a point: runs differ there that would be averaged."""
    along: tuple[str, ...]
    """Along a series, one a point: the fact goes with the inputs."""
    between: tuple[str, ...]
    """Only between series."""

    @classmethod
    def of(cls, frame: pl.DataFrame, facts: Sequence[str], inputs: Sequence[str]) -> _Spread:
        import polars as pl

        def several(keys: Sequence[str]) -> set[str]:
            if not facts:
                return set()
            counts = frame.group_by(keys).agg(pl.col(name).n_unique() for name in facts)
            return {name for name in facts if int(np.max(counts[name].to_numpy(), initial=0)) > 1}

        point, series = several(["series", *inputs]), several(["series"])
        return cls(
            tuple(name for name in facts if name in point),
            tuple(name for name in facts if name in series - point),
            tuple(name for name in facts if name not in series and frame[name].n_unique() > 1),
        )


def _choose(
    frame: pl.DataFrame, spread: _Spread, roles: Roles, curated: bool
) -> tuple[dict[str, str], list[str], list[str]]:
    """The role of each fact that varies and is neither input nor part of a series; measurements; what lacks a role."""
    chosen: dict[str, str] = {}
    lacking, measured = [], []
    for fact in (*spread.in_point, *spread.along, *spread.between):
        asked = "tuned" if fact in roles.best_over else "repeat" if fact in roles.repeat else None
        usual = "tuned" if fact in TUNED else "repeat" if fact in REPEAT else None
        strict = fact in STRICT or (curated and fact in spread.along)
        if asked or (usual and not (fact in REPEAT and fact in spread.along)):
            chosen[fact] = asked or str(usual)
        elif fact in spread.in_point and not curated and _never_returns(frame, fact):
            measured.append(fact)
        elif (fact in spread.in_point or strict) and fact not in REPEAT:
            lacking.append(fact)
        elif fact in spread.between:
            chosen[fact] = "series"
    return chosen, measured, lacking


def _goes_with(frame: pl.DataFrame, fact: str, inputs: Sequence[str]) -> bool:
    """Whether one of the inputs, of few values, says which value a fact has."""
    import polars as pl

    few = [name for name in inputs if frame[name].n_unique() <= MOST_LEVELS]
    return any((frame.group_by(name).agg(fact_n=pl.col(fact).n_unique())["fact_n"] == 1).all() for name in few)


def _never_returns(frame: pl.DataFrame, fact: str) -> bool:
    """Whether runs have too many values for a setting that somebody chose: a measurement, or a name."""
    return frame[fact].n_unique() > max(MOST_LEVELS, 0.25 * len(frame))


def _ways_out(frame: pl.DataFrame, facts: Sequence[str]) -> str:
    fact, more = facts[0], facts[1:]
    values = _values(frame, fact)
    also = f"; so {'has' if len(more) == 1 else 'have'} {', '.join(more)}" if more else ""
    return (
        f"runs that would be averaged differ in {fact} ({_shown(values)}), which has no role: --by {fact} (compare), "
        f"--where {fact}={_text(values[0])} (hold), --best-over {fact} (tune) or --repeat {fact} (noise){also}"
    )


def _measured_note(measured: Sequence[str]) -> tuple[FitWarning, ...]:
    if not measured:
        return ()
    names = ", ".join(measured)
    return (
        FitWarning(
            "unused_columns", f"taken for measurements: {names}; if one is a setting, give it a role (--by, ...)"
        ),
    )


def _tune(points: Points, facts: Sequence[str], inputs: Sequence[str], repeats: Sequence[str], loss: str) -> Points:
    """A row a point in place of its runs, at the best of the tuned facts."""
    import polars as pl

    frame = points.frame
    lost = frame.filter(pl.any_horizontal(pl.col(fact).is_null() for fact in facts))
    notes = list(points.warnings)
    if len(lost):
        what = " or ".join(facts)
        notes.append(FitWarning("left_out", f"{len(lost)} of {len(frame)} runs left out: their {what} is not known"))
        frame = frame.filter(~pl.any_horizontal(pl.col(fact).is_null() for fact in facts))
    ordered = [fact for fact in facts if frame[fact].dtype.is_numeric() and (frame[fact] > 0).all()]
    named = [fact for fact in facts if fact not in ordered]
    labels = sorted({tuple(map(_text, row)) for row in frame.select(named).iter_rows()}) if named else []
    series, tables = [], []
    for (name,), part in sorted(frame.group_by("series"), key=lambda item: str(item[0][0])):
        keys = [*inputs, *repeats]
        places = part.select(keys).unique(maintain_order=False).sort(keys)
        numbered = part.join(places.with_row_index("point"), on=keys, how="left", nulls_equal=True)
        numbered = numbered.sort("point", *ordered, "run_id")
        levels = np.zeros((len(numbered), len(labels)))
        for i, row in enumerate(numbered.select(named).iter_rows() if named else ()):
            levels[i, labels.index(tuple(map(_text, row)))] = 1.0
        series.append(
            TunedSeries(
                str(name), np.log(places.select(inputs).to_numpy().astype(float)),
                numbered["point"].to_numpy().astype(int),
                np.log(numbered.select(ordered).to_numpy().astype(float)).reshape(len(numbered), len(ordered)), levels,
                np.log(numbered[loss].to_numpy().astype(float)),
            )
        )  # fmt: skip
        tables.append(numbered)
    fit = at_best(series)
    rows: list[dict[str, Any]] = []
    optima: list[Optimum] = []
    members: list[Member] = []
    for one, best, table in zip(series, fit.series, tables, strict=True):
        for p in range(len(one.inputs)):
            here = table.filter(pl.col("point") == p)
            stands = here.row(0, named=True)
            if here.height > 1:
                members += [
                    Member(row["run_id"], one.name, row["n_params"], row.get("n_tokens"), row[loss])
                    for row in here.iter_rows(named=True)
                ]
                stands["run_id"] = ""
            stands |= {loss: float(np.exp(best.log_loss[p])), "stderr": float(best.stderr[p])}
            stands |= {fact: float(np.exp(best.optimum[p, k])) for k, fact in enumerate(ordered)}
            rows.append(stands)
        optima += [
            Optimum(one.name, fact, law, tuple(inputs))
            for fact, law in zip(ordered, best.laws, strict=True) if law is not None
        ]  # fmt: skip
        notes += _undertuned(one.name, one, best.edge, ordered, inputs)
    tuned = pl.DataFrame(rows, infer_schema_length=None).drop("point")
    return Points(tuned, points.axes, tuple(optima), tuple(notes), tuple(members), points.series_of, fit.sigma)


def _undertuned(
    name: str, one: TunedSeries, edge: np.ndarray, facts: Sequence[str], inputs: Sequence[str]
) -> list[FitWarning]:
    notes = []
    for j, fact in enumerate(facts):
        places = [p for p in range(len(one.inputs)) if edge[p, j]]
        if places:
            shown = [
                " and ".join(
                    f"{column} {np.exp(value):.3g}" for column, value in zip(inputs, one.inputs[p], strict=True)
                )
                for p in places[:SHOWN]
            ]
            more = f" and {len(places) - SHOWN} more" if len(places) > SHOWN else ""
            notes.append(
                FitWarning(
                    "undertuned",
                    f"{name}: the best {fact} is at the edge of what was tried at {'; '.join(shown)}{more}: "
                    "the loss there is an upper bound",
                    name,
                )
            )
    return notes


def _values(frame: pl.DataFrame, fact: str) -> tuple[Any, ...]:
    values = frame[fact].unique().to_list()
    known = [value for value in values if value is not None]
    try:
        known.sort()
    except TypeError:
        known.sort(key=str)
    return (*known, *([None] if len(known) < len(values) else []))


def _text(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{int(value)}" if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
    return str(value)


def _shown(values: Sequence[Any]) -> str:
    more = f", ... ({len(values)} in all)" if len(values) > SHOWN else ""
    return ", ".join(map(_text, values[:SHOWN])) + more
