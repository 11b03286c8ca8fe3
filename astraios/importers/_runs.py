"""From runs as another tool has them to rows of the database: what all importers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import AstraiosError, DataError, UsageError
from astraios.importers import Arrival, Imported, Wanted
from astraios.importers._answers import answer_scores, describe_task, with_direction
from astraios.importers._models import FACTS, UNSPECIFIED, completed, method_row
from astraios.importers._private import clean, short_path
from astraios.importers._units import directed, plain_task, units_of
from astraios.records import (
    AttemptRow,
    BaseModelRow,
    DatasetRow,
    EvaluationRow,
    RunRow,
    SampleScore,
    Score,
    TaskRow,
    TuningMethodRow,
    frame,
    from_values,
    values,
)

if TYPE_CHECKING:
    import polars as pl

ORIGIN = "imported"
_LARGEST_STEP = 2**31 - 1


@dataclass
class Found:
    """One run as a source has it."""

    label: str
    """What messages call it."""
    identity: Sequence[Any]
    """What makes it this run and no other: plain values that stay the same when the source is read again."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Columns of the table run (`FACTS`), and ladder and architecture of the base model."""
    settings: dict[str, Any] = field(default_factory=dict)
    """All else that the source says about the run."""
    attempt: dict[str, Any] = field(default_factory=dict)
    """Columns of the table attempt."""
    losses: pl.DataFrame | None = None
    """split, step, n_tokens, loss_nats, in the order in which they were logged."""
    evaluations: list[EvaluationRow] = field(default_factory=list)
    scores: list[Score] = field(default_factory=list)
    samples: list[SampleScore] = field(default_factory=list)
    source: dict[str, str] = field(default_factory=dict)
    """Where each fact came from, by column."""
    place: str = ""
    """The file or folder that it was found in; of an evaluation, the folder of the model, where it is there."""
    joins: Sequence[str] = ()
    """Of an evaluation: what the harness calls the model, by which its run is found."""
    ids: dict[str, dict[str, str]] = field(default_factory=dict)
    """Ids by tracker; live runs keep the same under settings.ids."""
    unfinished: str = ""
    """Why the run has no end, as far as its tool says: running, killed, failed."""
    named: bool = False
    """Whether the identity is the tracker's own id, or the name that a table gives the run."""


@dataclass
class Skipped:
    """What was left out, with reasons; counts where it is many."""

    strict: bool = False
    """Whether an item that can't be read is an error."""
    reasons: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)
    """Metrics of a tracker that are neither loss nor score."""
    errors: list[AstraiosError] = field(default_factory=list)
    """What was wrong with each item that can't be read."""

    def add(self, what: str, why: str) -> None:
        """Notes something that was left out."""
        name = short_path(what)
        if self.reasons.get(name, why) == why:
            self.reasons[name] = why
        else:
            self.reasons[f"{name} ({sum(one.startswith(name) for one in self.reasons) + 1})"] = why

    @contextmanager
    def item(self, what: str | Path) -> Iterator[None]:
        """Leaves out one item of a source that can't be read; its siblings are read all the same.

        Args:
            what: the file, or what the run is called.

        Raises:
            DataError: it can't be read, and that is to refuse the whole source.
        """
        try:
            yield
        except AstraiosError as error:
            self._leave_out(what, error)
        except (AttributeError, KeyError, IndexError, TypeError, ValueError, OverflowError, ArithmeticError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._leave_out(what, DataError(f"{what}: not in the form that was expected ({reason:.120})"))

    def cut(self, file: Path, error: AstraiosError) -> None:
        """Notes a file that ends too early and of which what stands before counts.

        Raises:
            AstraiosError: a file that is not whole is to refuse the whole source.
        """
        if self.strict:
            raise error
        self.errors.append(error)
        self.add(file.name, f"{str(error).removeprefix(f'{file}: ')}; what stands before it is taken")

    def nothing(self) -> AstraiosError:
        """The error of a source of which nothing is left."""
        if self.errors and (len(self.reasons) == 1 or all(isinstance(one, UsageError) for one in self.errors)):
            return self.errors[0]
        why = "; ".join(f"{what}: {why}" for what, why in self.reasons.items()) or "it holds no run"
        return DataError(f"nothing to import: {clean(why)}")

    def _leave_out(self, what: str | Path, error: AstraiosError) -> None:
        if self.strict:
            raise error from None
        self.errors.append(error)
        name = what.name if isinstance(what, Path) else what
        self.add(name, str(error).removeprefix(f"{what}: "))


def run_id(tool: str, identity: Sequence[Any]) -> str:
    """Identifier of a run of another tool: the tool and a hash of what makes it this run."""
    text = json.dumps([tool, *identity], sort_keys=True, default=str)
    return f"{tool}-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def points(rows: Sequence[tuple[str, int, int | None, float | None]]) -> pl.DataFrame:
    """Rows (split, step, n_tokens, loss) as `Found.losses` has them."""
    import polars as pl

    schema = {"split": pl.String, "step": pl.Int64, "n_tokens": pl.Int64, "loss_nats": pl.Float64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def step_number(value: Any, where: str) -> int:
    """A step as an integer.

    Raises:
        DataError: it is no whole number, negative, or too large.
    """
    try:
        number = int(value)
        if isinstance(value, bool) or number != float(value):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{where}: a step should be a whole number, not {value!r:.60}") from None
    if not 0 <= number <= _LARGEST_STEP:
        raise DataError(f"{where}: step {number} is out of range")
    return number


def task_row(
    task_id: str, metric: str, kind: str = "generation", lower_is_better: Sequence[str] | None = None
) -> TaskRow:
    """Row of the table task; what astraios knows of a task goes before what a source says.

    Args:
        task_id: the task.
        metric: its main one, as the source has it.
        kind: as in the table.
        lower_is_better: metrics of which less is better; None where the source does not say.
    """
    from astraios.evaluate.tasks import TASKS

    if task_id in TASKS:
        return TASKS.get(task_id).describe()
    lower = None if lower_is_better is None else list(lower_is_better)
    return TaskRow(
        task_id=task_id,
        title=task_id,
        kind=kind,
        metric=metric,
        higher_is_better=metric not in (lower or ()),
        lower_is_better=lower,
    )


def imported(
    tool: str,
    runs: Iterable[Found],
    wanted: Wanted,
    skipped: Skipped,
    tasks: Mapping[str, TaskRow] | None = None,
    adds: bool = False,
) -> Imported:
    """Rows by table of the runs that were found.

    A run without a number of parameters is among them, for it may be one that the database knows. Of a loss logged
    twice at one step the latest counts.

    Args:
        tool: beginning of each run_id.
        runs: what was found.
        wanted: what the user said.
        skipped: what was left out so far; more is added.
        tasks: rows of the table task by task_id.
        adds: as in `Imported`.

    Raises:
        UsageError: no run is left, or --set names one run and several were found.
        DataError: nothing could be read, or under --strict two runs of the source are one and the same.
    """
    described: list[_Described] = []
    seen: dict[str, Found] = {}
    runs = _completing(runs)
    _in_fractions(runs, skipped)
    for found in runs:
        one = None
        with skipped.item(found.label):
            one = _describe(tool, found, wanted)
        if one is None:
            continue
        key = one.run.run_id
        if key in seen:
            first = seen[key]
            if wanted.values.get("run_id"):
                raise UsageError(f"--set run_id={key}: the source holds several runs: {first.label}, {found.label}")
            with skipped.item(found.label):
                if not _same(first, found):
                    raise DataError(f"{found.label}: the same run as {first.label}, with other content")
                skipped.add(found.label, f"the same run as {first.label}")
            continue
        seen[key] = found
        described.append(one)
    if skipped.metrics:
        names = list(skipped.metrics)
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        skipped.add(
            "metrics that are no losses by their names",
            f"{', '.join(names[:20])}{more} (--map loss=NAME, --map score:TASK:METRIC=NAME)",
        )
    if not described:
        raise skipped.nothing()
    told = [
        replace(row, task_id=name, title=name if " [" in name else row.title)
        for name in dict.fromkeys(row.task_id for found in seen.values() for row in found.evaluations)
        if (row := (tasks or {}).get(plain_task(name))) is not None
    ]
    likely: set[str] = set()
    for found in seen.values():
        answered = answer_scores(found.evaluations, found.samples, found.scores)
        found.scores += answered
        likely |= {score.task_id for score in answered}
    samples: dict[str, list[SampleScore]] = {}
    for sample in (sample for found in seen.values() for sample in found.samples):
        samples.setdefault(sample.task_id, []).append(sample)
    metrics: dict[str, list[str]] = {}
    for score in (score for found in seen.values() for score in found.scores):
        metrics.setdefault(score.task_id, []).append(score.metric)
    told = [directed(row, metrics.get(row.task_id, ())) for row in told]
    told = [describe_task(row, samples.get(row.task_id, ())) for row in told]
    told = [with_direction(row) if row.task_id in likely else row for row in told]
    frames = _frames(seen, described, told, wanted)
    losses = _losses(seen, skipped)
    if losses is not None and len(losses):
        frames["loss_point"] = losses
    arrivals = [
        Arrival(
            key, found.label, tool, found.place, found.joins, found.ids, found.source, found.named, found.unfinished
        )
        for key, found in seen.items()
    ]
    return Imported(frames, skipped.reasons, adds, arrivals, bool(skipped.errors))


def _in_fractions(runs: Sequence[Found], skipped: Skipped) -> None:
    """Scores that are given per cent as fractions; where a metric mixes both, none of its scores is taken."""
    units = units_of(score for run in runs for score in run.scores)
    for what, why in units.reasons.items():
        skipped.add(what, why)
    for run in runs if units.reasons else ():
        run.scores = units.taken(run.scores)
        left = {(one.task_id, one.n_shot) for one in run.scores}
        run.evaluations = [one for one in run.evaluations if (one.task_id, one.n_shot) in left]
        run.samples = [one for one in run.samples if (one.task_id, one.n_shot) in left]


def _completing(runs: Iterable[Found]) -> list[Found]:
    """Runs, with those as one that a source names twice and of which one has the losses and the other the scores."""
    kept: dict[str, Found] = {}
    found: list[Found] = []
    for run in runs:
        key = repr(run.identity)
        first = kept.setdefault(key, run)
        if first is run or (_has_losses(first) and _has_losses(run)) or _scored(first) & _scored(run) or not run.named:
            found.append(run)
        else:
            first.losses = first.losses if _has_losses(first) else run.losses
            first.evaluations += run.evaluations
            first.scores += run.scores
            first.samples += run.samples
            first.source = {**run.source, **first.source}
            first.facts = {**run.facts, **{name: one for name, one in first.facts.items() if one is not None}}
    return found


def _has_losses(run: Found) -> bool:
    return run.losses is not None and len(run.losses) > 0


def _scored(run: Found) -> set[tuple[str, int]]:
    return {(row.task_id, row.n_shot) for row in run.evaluations}


def _same(one: Found, other: Found) -> bool:
    if one.scores != other.scores or one.samples != other.samples or (one.losses is None) != (other.losses is None):
        return False
    return one.losses is None or other.losses is None or one.losses.equals(other.losses)


_LEAST = {"n_params": 1, "n_params_nonembedding": 1, "n_trainable": 0, "n_tokens": 0, "steps": 0, "train_flops": 0,
          "learning_rate": 0}  # fmt: skip
"""The smallest values that make sense."""


def _check_counts(run: RunRow, label: str) -> None:
    for name, least in _LEAST.items():
        value = getattr(run, name)
        if value is not None and value < least:
            raise DataError(f"{label}: {name} is {value}: at least {least} was expected")


@dataclass(frozen=True)
class _Described:
    """Rows that describe a run."""

    run: RunRow
    created_at: Any
    base_model: BaseModelRow | None
    tuning_method: TuningMethodRow
    dataset: DatasetRow | None


def _describe(tool: str, found: Found, wanted: Wanted) -> _Described:
    """What the database is to say of a run."""
    key = wanted.values.get("run_id") or run_id(tool, found.identity)
    told_by_user = {**wanted.values, **wanted.facts(key, found.label, found.place)}
    told_by_user = {name: value for name, value in told_by_user.items() if value is not None}
    facts = completed({**found.facts, **told_by_user})
    found.source |= dict.fromkeys(told_by_user, "the stored run" if "run_id" in wanted.values else "the user")
    n_params = facts.get("n_params")
    told = {name: facts.get(name) for name in FACTS if name != "created_at"}
    if found.losses is not None and len(found.losses):
        told["steps"] = told["steps"] or max(found.losses["step"].to_list())
        told["n_tokens"] = told["n_tokens"] or found.losses["n_tokens"].max()
    dataset = clean(str(told["dataset_id"]), wanted.private) if told["dataset_id"] else told["dataset_id"]
    names = {
        "model_id": clean(str(facts.get("model_id") or f"unnamed/{n_params}"), wanted.private),
        "method_id": clean(str(facts.get("method_id") or UNSPECIFIED), wanted.private),
        "dataset_id": dataset,
    }
    settings = {"source": tool, "name": found.label, **found.settings}
    if found.ids:
        settings["ids"] = found.ids
    if found.place and not found.joins:
        settings["place"] = place_key(found.place)
    run = RunRow(
        run_id=key,
        origin=ORIGIN,
        settings={
            **clean(settings, wanted.private),
            "facts_from": {name: source for name, source in found.source.items() if facts.get(name) is not None},
        },
        **{**told, **names},
    )
    _check_counts(run, found.label)
    base = None
    if n_params is not None:
        base = BaseModelRow(
            model_id=run.model_id,
            ladder=facts.get("ladder"),
            architecture=facts.get("architecture"),
            revision=facts.get("revision"),
            n_params=n_params,
            n_params_nonembedding=facts.get("n_params_nonembedding"),
        )
    data = DatasetRow(dataset_id=dataset, name=dataset, hash="not known") if dataset else None
    return _Described(run, facts.get("created_at"), base, method_row(run.method_id), data)


def place_key(place: str | Path) -> str:
    """What a folder is known by without telling its path."""
    return hashlib.sha256(str(Path(place).resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _losses(runs: Mapping[str, Found], skipped: Skipped) -> pl.DataFrame | None:
    """The losses of all runs, one a run, split and step: the latest. What was left out is noted by run."""
    import polars as pl

    pieces = {key: found.losses for key, found in runs.items() if found.losses is not None and len(found.losses)}
    if not pieces:
        return None
    keys = pl.Series("run_id", list(pieces), dtype=pl.String)
    lengths = pl.Series([len(piece) for piece in pieces.values()])
    logged = pl.concat(list(pieces.values())).with_columns(keys.repeat_by(lengths).explode())
    told = logged.drop_nulls("loss_nats")
    once = told.unique(["run_id", "split", "step"], keep="last", maintain_order=True)
    for more, fewer, what, why in (
        (logged, told, "losses without a value", "left out"),
        (told, once, "steps logged again", "earlier losses; the latest of a step counts"),
    ):
        if len(fewer) < len(more):
            counts = (
                more["run_id"].value_counts().join(fewer["run_id"].value_counts(name="kept"), on="run_id", how="left")
            )
            for key, n, kept in counts.sort("run_id").iter_rows():
                if n > (kept or 0):
                    skipped.add(f"{runs[key].label}, {what}", f"{n - (kept or 0):,} {why}")
    return once.select(
        "run_id", pl.lit(1, pl.Int32).alias("attempt"), "split", pl.col("step").cast(pl.Int32), "n_tokens", "loss_nats"
    )


def _frames(
    runs: Mapping[str, Found], described: Sequence[_Described], tasks: Sequence[TaskRow], wanted: Wanted
) -> dict[str, pl.DataFrame]:
    """Rows by table, losses left out; a table without rows has no frame."""

    def cleaned(rows: Sequence[Any]) -> list[Any]:
        plain = clean([values(row) for row in rows], wanted.private)
        return [from_values(type(row), content) for row, content in zip(rows, plain, strict=True)]

    def of_runs(rows: Mapping[str, Sequence[Any]]) -> tuple[list[Any], dict[str, Any]]:
        owners = [key for key, content in rows.items() for _ in content]
        return [row for content in rows.values() for row in cleaned(content)], {"run_id": owners, "attempt": 1}

    attempts = [AttemptRow(**{"attempt": 1, "state": "done", **found.attempt}) for found in runs.values()]
    rows: dict[str, tuple[list[Any], dict[str, Any]]] = {
        "base_model": (_once([one.base_model for one in described if one.base_model]), {}),
        "tuning_method": (_once([one.tuning_method for one in described]), {}),
        "dataset": (_once([one.dataset for one in described if one.dataset]), {}),
        "run": ([one.run for one in described], {"created_at": [one.created_at for one in described]}),
        "attempt": (attempts, {"run_id": list(runs)}),
        "task": ([row for task in tasks for row in cleaned([task])], {}),
        "evaluation": of_runs({key: found.evaluations for key, found in runs.items()}),
        "score": of_runs({key: found.scores for key, found in runs.items()}),
        "sample_score": of_runs({key: found.samples for key, found in runs.items()}),
    }
    return {table: frame(content, **address) for table, (content, address) in rows.items() if content}


def _once(rows: Sequence[Any]) -> list[Any]:
    """Rows without those that say the same."""
    return list({repr(row): row for row in rows}.values())
