"""Any table: CSV, TSV, JSON lines, JSON or Parquet, with --map COLUMN=NAME for columns of other names.

Four shapes: a row a run (a column for the loss, columns for scores); a row a step (a column `step`, else `epoch`); a
row a score (columns task, metric, value); a row a value of a metric (columns step, metric, value, as trackers log). A
column for the run says which rows belong together; without one, rows that agree in all facts about the run do (a log of
one run needs none), and in a table of a row a run all other columns are such facts too. A column that says eval, val,
valid or test is the test loss, and `loss` beside it the training batch's; a learning rate that changes along a run is
no fact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._config import from_config
from astraios.importers._curves import Series, fill, is_batch
from astraios.importers._files import head, plain_file, walk
from astraios.importers._models import FACTS, NUMBERS, WHOLE, base_model
from astraios.importers._runs import Found, Skipped, imported, task_row
from astraios.importers._table import ENDINGS, Table, read_table
from astraios.records import EvaluationRow, Score, TaskRow
from astraios.runs.metric_names import held_out, is_of_epochs

if TYPE_CHECKING:
    import polars as pl

_USUAL = {
    "run_id": ("run_id", "run", "run_name", "experiment"),
    **{name: (name,) for name in FACTS if name != "created_at"},
    "model_id": ("model_id", "model", "base_model", "model_name"),
    "method_id": ("method_id", "method", "tuning_method", "peft_type"),
    "dataset_id": ("dataset_id", "dataset"),
    "n_params": ("n_params", "params", "num_params", "num_parameters", "parameters", "size"),
    "n_trainable": ("n_trainable", "trainable_params", "num_trainable_params"),
    "n_tokens": ("n_tokens", "tokens", "num_tokens"),
    "steps": ("steps", "max_steps"),
    "train_flops": ("train_flops", "flops"),
    "learning_rate": ("learning_rate", "lr"),
    "step": ("step", "global_step"),
    "split": ("split",),
    "loss": ("loss", "loss_nats", "eval_loss", "test_loss", "val_loss", "validation_loss"),
    "batch_loss": ("batch_loss", "train_loss"),
    "task_id": ("task_id", "task"),
    "metric": ("metric",),
    "value": ("value", "score"),
    "stderr": ("stderr", "std_err"),
    "n_shot": ("n_shot", "num_fewshot"),
    "n": ("n", "n_items"),
}
"""Names that are taken for each column of ours where --map says nothing."""
_WHOLE = {*WHOLE, "step", "n_shot", "n"}
_NUMBERS = {*NUMBERS, "loss", "train_loss", "batch_loss", "value", "stderr"}
_SIZES = {name for name in WHOLE if name.startswith("n_")}
_LOSSES = {"loss": "test", "train_loss": "train", "batch_loss": "batch"}
_FACTS = tuple(name for name in FACTS if name not in ("n_tokens", "created_at"))
_NEEDED = {"run_id", "n_params", "step", "loss", "train_loss", "batch_loss", "task_id", "metric", "value", "split"}
"""Columns without which a run makes no sense: a value of theirs that can't be read refuses the table."""
_SPACES = re.compile(r"\s+")
_LONG_SCORES = ("task_id", "metric", "value", "stderr", "n_shot", "n")


@dataclass(frozen=True)
class AnyTable(Importer):
    """One file, or a folder of tables."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        return bool(_tables(path)) if path.is_dir() else _looks_right(path)

    def read(self, source: str, wanted: Wanted) -> Imported:
        path, skipped = Path(source), Skipped(wanted.strict)
        found: list[Found] = []
        tasks: dict[str, TaskRow] = {}
        if not path.is_dir():
            return imported(self.name, _found(path, wanted, skipped, tasks), wanted, skipped, tasks)
        files: list[Path] = []
        for file in _tables(path):
            with skipped.item(file):
                some = _found(file, wanted, skipped, tasks)
                found += some
                files += [file] * len(some)
        _tell_apart(found, [file.relative_to(path) for file in files])
        return imported(self.name, found, wanted, skipped, tasks)


table = AnyTable(name="table", title="table (CSV, Parquet, JSON lines)", priority=-5, maps=True)


_OTHERS = ("samples_*", "trainer_log.jsonl", "*eval_results.json")
"""Tables of other tools that are no tables of runs."""


def _tell_apart(runs: Sequence[Found], files: Sequence[Path]) -> None:
    """Runs that only their files tell apart, as logs of one name in folders of their own, are called after these."""
    identities = [repr(run.identity) for run in runs]
    homes: dict[str, set[Path]] = {}
    for identity, file in zip(identities, files, strict=True):
        homes.setdefault(identity, set()).add(file)
    for run, identity, file in zip(runs, identities, files, strict=True):
        if len(homes[identity]) > 1 and not run.named:
            run.identity = [*run.identity, ["file", file.as_posix()]]
            stem = file.as_posix().removesuffix(".gz").rpartition(".")[0]
            run.label = stem if run.label == file.name.partition(".")[0] else f"{stem}, {run.label}"


def _tables(folder: Path) -> list[Path]:
    files = walk(folder, *(f"*{ending}{gz}" for ending in ENDINGS for gz in ("", ".gz")))
    return [path for path in files if _looks_right(path) and not any(fnmatch(path.name, one) for one in _OTHERS)]


def _looks_right(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    if not name.endswith(ENDINGS) or not plain_file(path):
        return False
    if name.endswith(".log"):
        return _KERAS.match(head(path, 256)) is not None
    return not name.endswith(".json") or _JSON.match(head(path, 4096)) is not None


_KERAS = re.compile(rb"\s*\"?epoch\"?[,;\t]", re.IGNORECASE)
"""How a log begins that Keras's CSVLogger wrote."""
_JSON = re.compile(rb'\s*(?:\[|\{\s*"[^"]*"\s*:\s*\{\s*"0"\s*:)')
"""How a list of rows begins, or the columns that pandas writes."""


def _found(path: Path, wanted: Wanted, skipped: Skipped, tasks: dict[str, TaskRow]) -> list[Found]:
    """The runs of one table; rows of their tasks are added."""
    table = read_table(path)
    columns = _columns(table, wanted, skipped)
    tasks |= {task: task_row(task, metric) for task, metric in columns.scores.values()}
    found: list[Found] = []
    numbers: list[int] = []
    for number, (run, rows) in enumerate(_runs(table, columns, skipped)):
        if columns.long_metrics:
            tasks |= fill(run, _series(table, columns.frame[rows]), wanted, skipped)
        elif columns.long_scores or columns.scores:
            _scores(run, columns, columns.frame[rows])
        for score in run.scores:
            tasks.setdefault(score.task_id, task_row(score.task_id, score.metric))
        if columns.row_a_run and len(rows) > 1:
            skipped.add(f"{run.label}, the same run again", f"{len(rows) - 1:,} rows; the latest counts")
        if run.label not in columns.wrong:
            found.append(run)
            numbers.append(number)
    if columns.losses:
        _add_losses(table, columns, dict(zip(numbers, found, strict=True)))
    return found


@dataclass
class _Columns:
    """Our columns, with ours as names."""

    frame: pl.DataFrame
    """Columns of `_USUAL` that the table has, in their types, and `row`."""
    losses: dict[str, str] = field(default_factory=dict)
    """Split by column that holds losses."""
    scores: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Task and metric by column of a table with a score a column."""
    others: pl.DataFrame | None = None
    """Columns that nobody knows, as texts, or None where all are known."""
    runs: pl.DataFrame | None = None
    """Number of the run by row."""
    wrong: set[str] = field(default_factory=set)
    """Labels of the runs that are left out."""

    def has(self, name: str) -> bool:
        return name in self.frame.columns

    @property
    def long_scores(self) -> bool:
        return self.has("task_id") and self.has("value")

    @property
    def long_metrics(self) -> bool:
        return not self.losses and not self.long_scores and all(map(self.has, ("step", "metric", "value")))

    @property
    def row_a_run(self) -> bool:
        return not self.has("step") and not self.long_scores


def _columns(table: Table, wanted: Wanted, skipped: Skipped) -> _Columns:
    import polars as pl

    names, scores = _names(table, wanted)
    losses = _losses(table, names, wanted)
    if "step" not in names and losses and _is_log(table, names):
        names["step"] = next(name for name in table.frame.columns if name.lower() == "epoch")
    columns = []
    for ours, theirs in names.items():
        column = _typed(table, ours, theirs, skipped)
        if column is not None:
            columns.append(column.alias(ours))
    columns += [table.numbers(theirs).alias(theirs) for theirs in {**scores, **losses} if theirs not in names.values()]
    frame = pl.DataFrame(columns).with_row_index("row")
    used = {*names.values(), *scores, *losses}
    others, strange = table.others(used)
    for name, kind in strange.items():
        skipped.add(f"column {name}", f"{kind}: neither text nor number")
    splits = {next((ours for ours, one in names.items() if one == theirs), theirs): s for theirs, s in losses.items()}
    found = _Columns(frame, splits, scores, others if others.width else None)
    if not (found.losses or scores or found.long_scores or found.long_metrics):
        raise UsageError(
            f"{table.path}: no column for a loss or a score: --map loss=NAME, or score:TASK:METRIC=NAME; "
            f"columns: {', '.join(table.frame.columns[:50])}"
        )
    if others.width and (found.has("step") or found.long_scores or found.has("run_id")):
        skipped.add("columns", f"not known: {', '.join(others.columns[:50])} (--map COLUMN=NAME)")
    return found


def _is_log(table: Table, names: Mapping[str, str]) -> bool:
    """Whether a table without steps is a log over epochs, as Keras keeps it, of one run or of those it names."""
    epoch = next((name for name in table.frame.columns if name.lower() == "epoch"), None)
    if epoch is None or "task_id" in names:
        return False
    try:
        values = table.whole(epoch).to_list()
    except DataError:
        return False
    runs = table.texts(names["run_id"]).to_list() if "run_id" in names else [""] * len(values)
    by_run: dict[Any, list[Any]] = {}
    for run, value in zip(runs, values, strict=True):
        by_run.setdefault(run, []).append(value)
    several = "run_id" not in names or any(len(some) > 1 for some in by_run.values())
    return several and None not in values and all(
        one < other for some in by_run.values() for one, other in pairwise(some)
    )  # fmt: skip


def _losses(table: Table, names: dict[str, str], wanted: Wanted) -> dict[str, str]:
    """Split by their name of each column with a loss."""
    if {"task_id", "value"} <= names.keys() or {"metric", "value", "step"} <= names.keys():
        return {}
    told = {ours: names[ours] for ours in _LOSSES if ours in names}
    mapped = {theirs: _LOSSES[ours] for ours, theirs in told.items() if ours in wanted.columns or (
        ours == "loss" and "test_loss" in wanted.columns)}  # fmt: skip
    if "split" in names and "loss" in told:
        return {told["loss"]: "test", **mapped}
    free = [name for name in table.frame.columns if name not in names.values() or name in told.values()]
    held = {name: split for name in free if (split := held_out(name)) and name not in mapped}
    batch = [name for name in free if is_batch(name) and name not in mapped and not _one_value(table, name, free)]
    batch.sort(key=is_of_epochs)
    splits = dict(mapped)
    for name in sorted(held, key=lambda one: (one != told.get("loss"), free.index(one))):
        if held[name] not in splits.values():
            splits[name] = held[name]
    plain = [name for name in batch if name.lower() in ("loss", "loss_nats")]
    if "test" not in splits.values() and plain and not any(split.startswith("test") for split in splits.values()):
        splits[plain[0]] = "test"
    for name in batch:
        if name not in splits and "batch" not in splits.values():
            splits[name] = "batch"
    return splits


def _one_value(table: Table, name: str, free: Sequence[str]) -> bool:
    """Whether a `train_loss` is the summary at the end of a log that has the losses themselves."""
    values = table.frame[name].len() - table.texts(name).str.strip_chars().replace("", None).null_count()
    return values <= 1 and table.frame.height > 1 and name.lower() == "train_loss" and "loss" in map(str.lower, free)


def _names(table: Table, wanted: Wanted) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Their name of each of our columns, and the columns that hold a score each."""
    there = list(table.frame.columns)
    metrics = set(table.texts("metric")) if {"step", "metric", "value"} <= set(there) else set()
    names: dict[str, str] = {}
    scores: dict[str, tuple[str, str]] = {}
    for ours, theirs in wanted.columns.items():
        if theirs in metrics and theirs not in there:
            continue
        if theirs not in there:
            raise UsageError(
                f"--map {ours}={theirs}: {table.path} has no column {theirs!r}; it has: {', '.join(there[:50])}"
            )
        if ours.startswith("score:") and ours.count(":") == 2:
            _, task, metric = ours.split(":")
            scores[theirs] = (task, metric)
        elif ours in _USUAL or ours in _LOSSES or ours == "test_loss":
            names["loss" if ours == "test_loss" else ours] = theirs
        else:
            raise UsageError(f"--map {ours}=...: known: {', '.join(_USUAL)}, train_loss, score:TASK:METRIC")
    taken = {*names.values(), *scores}
    lower = {_SPACES.sub("_", name.strip().lower()): name for name in there if name not in taken}
    for ours, usual in _USUAL.items():
        told = ours in names or (ours == "batch_loss" and "train_loss" in names) or ours in wanted.values
        hit = next((lower[name] for name in usual if name in lower), None)
        if ours == "learning_rate" and hit is None:  # Lightning's monitor names the optimizer too
            hit = next((name for name in there if name.startswith("lr-") and name not in taken), None)
        if not told and hit is not None and hit not in names.values():
            names[ours] = hit
    return names, scores


def _typed(table: Table, ours: str, theirs: str, skipped: Skipped) -> pl.Series | None:
    """A column in our type; None where it is odd and a run can do without it."""
    try:
        if ours in _WHOLE:
            return table.whole(theirs, sizes=ours in _SIZES)
        return table.numbers(theirs) if ours in _NUMBERS else table.texts(theirs)
    except DataError as error:
        if ours in _NEEDED or skipped.strict:
            raise
        skipped.add(f"column {theirs}", str(error).removeprefix(f"{table.path}: "))
        return None


def _runs(table: Table, columns: _Columns, skipped: Skipped) -> Iterator[tuple[Found, list[int]]]:
    """The runs with the numbers of their rows; what is common to these is worked out for all runs at once."""
    import polars as pl

    facts = [name for name in _FACTS if columns.has(name)]
    if columns.has("n_tokens") and columns.row_a_run:
        facts.append("n_tokens")
    frame = columns.frame
    changing = _changing(columns, facts)
    if columns.has("run_id"):
        key = ["run_id"]
    else:
        key = [name for name in facts if name not in changing]
        if columns.row_a_run and columns.others is not None:
            extra = columns.others.select(pl.all().name.prefix("other "))
            frame, key = frame.hstack(extra), key + extra.columns
    if not key:
        if not columns.has("step"):
            raise UsageError(
                f"{table.path}: no column says which run a row belongs to, or anything about it: --map run_id=NAME"
            )
        frame, key = frame.with_columns(pl.lit(table.name).alias("the log")), ["the log"]
    groups = frame.group_by(key, maintain_order=True).agg(
        pl.col("row").alias("rows"),
        *(
            (pl.col(name).max() if name in changing else pl.col(name).drop_nulls().first()).alias(f"first {name}")
            for name in facts
        ),
        *(pl.col(name).drop_nulls().n_unique().alias(f"count {name}") for name in facts),
    )
    columns.runs = groups.with_row_index("run").select("run", pl.col("rows").alias("row")).explode("row")
    for group in groups.iter_rows(named=True):
        rows = group["rows"]
        run = _run(table, columns, group, key, {name: group[f"first {name}"] for name in facts})
        for name in changing:
            run.source[name] = "the highest along the run"
        known = len(columns.wrong)
        with skipped.item(run.label):
            for name in facts:
                if group[f"count {name}"] > 1 and name not in changing:
                    columns.wrong.add(run.label)
                    _refuse_two(table, columns.frame[rows], name)
            if columns.row_a_run and len(rows) > 1 and columns.losses and columns.has("run_id"):
                columns.wrong.add(run.label)
                raise UsageError(
                    f"{table.place(rows[1])}: run {group['run_id']!r} has several rows and no column says which step "
                    "they are: --map step=NAME"
                )
        yield run, rows if len(columns.wrong) == known else []


def _changing(columns: _Columns, facts: Sequence[str]) -> list[str]:
    """Facts that change along a run, as a learning rate does that is logged: step by step, not from run to run."""
    import polars as pl

    if "learning_rate" not in facts or not columns.has("step"):
        return []
    if columns.has("run_id"):
        counts = columns.frame.group_by("run_id").agg(pl.col("learning_rate").drop_nulls().n_unique())
        return ["learning_rate"] if (counts["learning_rate"].max() or 0) > 1 else []  # type: ignore[operator]
    key = [name for name in facts if name != "learning_rate"] + ["step"]
    told = columns.frame.filter(pl.col("learning_rate").is_not_null())
    if told["learning_rate"].n_unique() < 2:
        return []
    rates = told.group_by(key).agg(pl.col("learning_rate").n_unique())
    return ["learning_rate"] if rates["learning_rate"].max() == 1 else []


def _run(table: Table, columns: _Columns, group: Mapping[str, Any], key: list[str], known: Mapping[str, Any]) -> Found:
    first = int(group["rows"][0])
    settings: dict[str, Any] = {"table": table.path.name}
    if columns.has("run_id"):
        settings["run"] = group["run_id"]
    elif columns.row_a_run and columns.others is not None:
        settings["columns"] = columns.others.row(first, named=True)
    label = table.name if key == ["the log"] else f"row {first + 1}"
    facts = {**known, **from_config({name: value for name, value in known.items() if value is not None})}
    told = base_model(facts.get("model_id"), table.path.parent) if facts.get("n_params") is None else {}
    return Found(
        label=str(group["run_id"]) if columns.has("run_id") else label,
        identity=[[name, group[name]] for name in key],
        facts={**told, **{name: value for name, value in facts.items() if value is not None}},
        settings=settings,
        source={name: "the table" for name, value in facts.items() if value is not None},
        place=f"{table.path}/{group['run_id']}" if columns.has("run_id") else "",
        named=columns.has("run_id"),
    )


def _refuse_two(table: Table, part: pl.DataFrame, name: str) -> None:
    """Raises a DataError about a fact that changes within a run."""
    told = part.filter(part[name].is_not_null())
    other = told.filter(told[name] != told[name][0])
    raise DataError(
        f"{table.place(int(other['row'][0]))}: {name} is {other[name][0]!r:.40} and was {told[name][0]!r:.40} before "
        "in the same run"
    )


def _series(table: Table, part: pl.DataFrame) -> Iterator[Series]:
    """The metrics of one run of a table with a value a row."""
    told = part.drop_nulls(["metric", "value"])
    for (name,), rows in told.partition_by("metric", as_dict=True, maintain_order=True).items():
        yield Series(str(name), rows["step"].to_list(), rows["value"].to_list())


def _add_losses(table: Table, columns: _Columns, found: Mapping[int, Found]) -> None:
    """Puts the losses of all runs in their places."""
    import polars as pl

    step = pl.col("step") if columns.has("step") else pl.lit(1)
    if not columns.has("step") and columns.has("steps"):
        step = pl.col("steps").fill_null(1)
    tokens = pl.col("n_tokens") if columns.has("n_tokens") else pl.lit(None, pl.Int64)
    pieces = []
    for name, told in columns.losses.items():
        split: pl.Expr = pl.lit(told)
        if name == "loss" and columns.has("split"):
            split = pl.col("split").fill_null("test")
        pieces.append(columns.frame.select(
            split.alias("split"), step.cast(pl.Int64).alias("step"), tokens.alias("n_tokens"),
            pl.col(name).alias("loss_nats"), "row",
        ).filter(pl.col("loss_nats").is_not_null()))  # fmt: skip
    losses = pl.concat(pieces)
    wrong = losses.filter(pl.col("step").is_null() | (pl.col("step") < 0) | (pl.col("step") > 2**31 - 1))
    if len(wrong):
        raise DataError(f"{table.place(int(wrong['row'][0]))}: step {wrong['step'][0]} is missing or out of range")
    assert columns.runs is not None
    by_run = losses.join(columns.runs, on="row", how="left", maintain_order="left").drop("row")
    for (number,), part in by_run.partition_by("run", as_dict=True, maintain_order=True, include_key=False).items():
        if int(number) in found:
            found[int(number)].losses = part


def _scores(run: Found, columns: _Columns, part: pl.DataFrame) -> None:
    rows: dict[tuple[str, int, str], Score] = {}
    if columns.long_scores:
        wide = [name for name in _LONG_SCORES if columns.has(name)]
        for row in part.select(wide).iter_rows(named=True):
            if row["task_id"] is not None and row["value"] is not None:
                score = Score.told(**{**row, "metric": row.get("metric") or "score", "n_shot": row.get("n_shot") or 0})
                rows[score.task_id, score.n_shot, score.metric] = score
    for name, (task, metric) in columns.scores.items():
        value = part[name].drop_nulls()
        if len(value):
            rows[task, 0, metric] = Score.told(task, metric, value[-1])
    run.scores = list(rows.values())
    told = {(row.task_id, row.n_shot): row.n for row in run.scores}
    run.evaluations = [EvaluationRow(task_id=task, n_shot=shots, n_items=n) for (task, shots), n in told.items()]
