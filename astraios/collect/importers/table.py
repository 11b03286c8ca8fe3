"""Any table: CSV, TSV, JSON lines, JSON or Parquet, with --map COLUMN=NAME for columns of other names.

Three shapes: a row a run (a column for the loss, columns for scores); a row a step (a column `step`); a row a score
(columns task, metric, value). A column for the run says which rows belong together; without one, rows that agree in
all facts about the run do, and in a table of a row a run all other columns are such facts too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.collect.importers import Imported, Importer, Wanted
from astraios.collect.importers._files import head
from astraios.collect.importers._models import from_config
from astraios.collect.importers._runs import Found, Skipped, imported, task_row
from astraios.collect.importers._table import ENDINGS, Table, read_table
from astraios.errors import DataError, UsageError

if TYPE_CHECKING:
    import polars as pl

_USUAL = {
    "run_id": ("run_id", "run", "run_name", "experiment"),
    "model_id": ("model_id", "model", "base_model", "model_name"),
    "method_id": ("method_id", "method", "tuning_method", "peft_type"),
    "dataset_id": ("dataset_id", "dataset"),
    "seed": ("seed",),
    "n_params": ("n_params", "params", "num_params", "num_parameters", "parameters", "size"),
    "n_params_nonembedding": ("n_params_nonembedding",),
    "n_trainable": ("n_trainable", "trainable_params", "num_trainable_params"),
    "n_tokens": ("n_tokens", "tokens", "num_tokens"),
    "steps": ("steps", "max_steps"),
    "tokens_per_step": ("tokens_per_step",),
    "train_flops": ("train_flops", "flops"),
    "learning_rate": ("learning_rate", "lr"),
    "bytes_per_token": ("bytes_per_token",),
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
_WHOLE = {"seed", "n_params", "n_params_nonembedding", "n_trainable", "n_tokens", "steps", "tokens_per_step", "step",
          "n_shot", "n"}  # fmt: skip
_NUMBERS = {"train_flops", "learning_rate", "bytes_per_token", "loss", "train_loss", "batch_loss", "value", "stderr"}
_SIZES = {"n_params", "n_params_nonembedding", "n_trainable", "n_tokens"}
_LOSSES = {"loss": "test", "train_loss": "train", "batch_loss": "batch"}
_FACTS = ("model_id", "method_id", "dataset_id", "seed", "n_params", "n_params_nonembedding", "n_trainable", "steps",
          "tokens_per_step", "train_flops", "learning_rate", "bytes_per_token")  # fmt: skip
_LONG_SCORES = ("task_id", "metric", "value", "stderr", "n_shot", "n")


@dataclass(frozen=True)
class AnyTable(Importer):
    """One file."""

    def matches(self, source: str) -> bool:
        path = Path(source)
        if not path.name.removesuffix(".gz").endswith(ENDINGS) or not path.is_file():
            return False
        return not path.name.removesuffix(".gz").endswith(".json") or head(path, 64).lstrip()[:1] == b"["

    def read(self, source: str, wanted: Wanted) -> Imported:
        table, skipped = read_table(Path(source)), Skipped()
        columns = _columns(table, wanted, skipped)
        tasks = {task: task_row(task, metric) for task, metric in columns.scores.values()}
        found = list(_found(table, columns, skipped))
        for run in found:
            for score in run.scores:
                tasks.setdefault(score["task_id"], task_row(score["task_id"], score["metric"]))
        return imported(self.name, found, wanted, skipped, tasks)


table = AnyTable(name="table", title="table (CSV, Parquet, JSON lines)", priority=-5, maps=True)


@dataclass
class _Columns:
    """Our columns, with ours as names."""

    frame: pl.DataFrame
    """Columns of `_USUAL` that the table has, in their types, and `row`."""
    scores: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Task and metric by column of a table with a score a column."""
    others: pl.DataFrame | None = None
    """Columns that nobody knows, or None where all are known."""

    def has(self, name: str) -> bool:
        return name in self.frame.columns

    @property
    def losses(self) -> list[str]:
        return [name for name in _LOSSES if self.has(name)]

    @property
    def long_scores(self) -> bool:
        return self.has("task_id") and self.has("value")


def _columns(table: Table, wanted: Wanted, skipped: Skipped) -> _Columns:
    names, scores = _names(table, wanted)
    columns = [_typed(table, ours, theirs).alias(ours) for ours, theirs in names.items()]
    columns += [table.numbers(theirs).alias(theirs) for theirs in scores]
    import polars as pl

    frame = pl.DataFrame(columns).with_row_index("row")
    used = {*names.values(), *scores}
    others = table.frame.select(name for name in table.frame.columns if name not in used)
    found = _Columns(frame, scores, others if others.width else None)
    if not (found.losses or scores or found.long_scores):
        raise UsageError(
            f"{table.path}: no column for a loss or a score: --map loss=NAME, or score:TASK:METRIC=NAME; "
            f"columns: {', '.join(table.frame.columns)}"
        )
    if others.width and (found.has("step") or found.long_scores or found.has("run_id")):
        skipped.add("columns", f"not known: {', '.join(others.columns)} (--map COLUMN=NAME)")
    return found


def _names(table: Table, wanted: Wanted) -> tuple[dict[str, str], dict[str, tuple[str, str]]]:
    """Their name of each of our columns, and the columns that hold a score each."""
    there = list(table.frame.columns)
    names: dict[str, str] = {}
    scores: dict[str, tuple[str, str]] = {}
    for ours, theirs in wanted.columns.items():
        if theirs not in there:
            raise UsageError(
                f"--map {ours}={theirs}: {table.path} has no column {theirs!r}; it has: {', '.join(there)}"
            )
        if ours.startswith("score:") and ours.count(":") == 2:
            _, task, metric = ours.split(":")
            scores[theirs] = (task, metric)
        elif ours in _USUAL or ours in _LOSSES or ours == "test_loss":
            names["loss" if ours == "test_loss" else ours] = theirs
        else:
            raise UsageError(f"--map {ours}=...: known: {', '.join(_USUAL)}, train_loss, score:TASK:METRIC")
    taken = {*names.values(), *scores}
    lower = {name.lower(): name for name in there if name not in taken}
    for ours, usual in _USUAL.items():
        told = ours in names or (ours == "batch_loss" and "train_loss" in names) or ours in wanted.values
        hit = next((lower[name] for name in usual if name in lower), None)
        if not told and hit is not None and hit not in names.values():
            names[ours] = hit
    return names, scores


def _typed(table: Table, ours: str, theirs: str) -> pl.Series:
    if ours in _WHOLE:
        return table.whole(theirs, sizes=ours in _SIZES)
    return table.numbers(theirs) if ours in _NUMBERS else table.texts(theirs)


def _found(table: Table, columns: _Columns, skipped: Skipped) -> Iterator[Found]:
    import polars as pl

    frame = columns.frame
    facts = [name for name in _FACTS if columns.has(name)]
    row_a_run = not columns.has("step") and not columns.long_scores
    if columns.has("n_tokens") and row_a_run:
        facts.append("n_tokens")
    if columns.has("run_id"):
        key = ["run_id"]
    else:
        key = list(facts)
        if row_a_run and columns.others is not None:
            extra = columns.others.select(pl.all().cast(pl.String).name.prefix("other "))
            frame = frame.hstack(extra)
            key += extra.columns
    if not key:
        raise UsageError(
            f"{table.path}: no column says which run a row belongs to, or anything about it: --map run_id=NAME"
        )
    for part in frame.partition_by(key, maintain_order=True):
        yield _run(table, columns, part, key, facts, row_a_run, skipped)


def _run(
    table: Table, columns: _Columns, part: pl.DataFrame, key: list[str], facts: list[str], row_a_run: bool,
    skipped: Skipped,
) -> Found:  # fmt: skip
    first = int(part["row"][0])
    known = {name: _only(table, part, name) for name in facts}
    identity = [[name, part[name][0]] for name in key]
    label = str(part["run_id"][0]) if columns.has("run_id") else f"row {first + 1}"
    config = from_config({name: value for name, value in known.items() if value is not None})
    settings: dict[str, Any] = {"table": table.path.name}
    if not columns.has("run_id") and row_a_run and columns.others is not None:
        settings["columns"] = columns.others.row(first, named=True)
    run = Found(label=label, identity=identity, facts={**known, **config}, settings=settings)
    if columns.has("run_id"):
        run.settings["run"] = part["run_id"][0]
    if columns.losses:
        run.losses = _losses(table, columns, part, row_a_run, skipped, label)
    _scores(run, columns, part)
    return run


def _only(table: Table, part: pl.DataFrame, name: str) -> Any:
    """The one value of a fact about a run.

    Raises:
        DataError: it has two.
    """
    told = part.filter(part[name].is_not_null())
    if told.is_empty():
        return None
    other = told.filter(told[name] != told[name][0])
    if len(other):
        place = table.place(int(other["row"][0]))
        raise DataError(
            f"{place}: {name} is {other[name][0]!r:.40} and was {told[name][0]!r:.40} before in the same run"
        )
    return told[name][0]


def _losses(
    table: Table, columns: _Columns, part: pl.DataFrame, row_a_run: bool, skipped: Skipped, label: str
) -> pl.DataFrame:
    import polars as pl

    if row_a_run and len(part) > 1:
        if columns.has("run_id"):
            raise UsageError(
                f"{table.place(int(part['row'][1]))}: run {label!r} has several rows and no column says which step "
                "they are: --map step=NAME"
            )
        skipped.add(f"{label}, the same run again", f"{len(part) - 1:,} rows; the latest counts")
    step = pl.col("step") if columns.has("step") else pl.lit(1)
    if not columns.has("step") and columns.has("steps"):
        step = pl.col("steps").fill_null(1)
    tokens = pl.col("n_tokens") if columns.has("n_tokens") else pl.lit(None, pl.Int64)
    pieces = []
    for name in columns.losses:
        split: pl.Expr = pl.lit(_LOSSES[name])
        if name == "loss" and columns.has("split"):
            split = pl.col("split").fill_null("test")
        pieces.append(part.select(
            split.alias("split"), step.cast(pl.Int64).alias("step"), tokens.alias("n_tokens"),
            pl.col(name).alias("loss_nats"), "row",
        ).filter(pl.col("loss_nats").is_not_null()))  # fmt: skip
    losses = pl.concat(pieces)
    wrong = losses.filter(pl.col("step").is_null() | (pl.col("step") < 0) | (pl.col("step") > 2**31 - 1))
    if len(wrong):
        raise DataError(f"{table.place(int(wrong['row'][0]))}: step {wrong['step'][0]} is missing or out of range")
    return losses.drop("row")


def _scores(run: Found, columns: _Columns, part: pl.DataFrame) -> None:
    rows: dict[tuple[str, int, str], dict[str, Any]] = {}
    if columns.long_scores:
        wide = [name for name in _LONG_SCORES if columns.has(name)]
        for row in part.select(wide).iter_rows(named=True):
            if row["task_id"] is not None and row["value"] is not None:
                score = {**row, "metric": row.get("metric") or "score", "n_shot": row.get("n_shot") or 0}
                rows[score["task_id"], score["n_shot"], score["metric"]] = score
    for name, (task, metric) in columns.scores.items():
        value = part[name].drop_nulls()
        if len(value):
            rows[task, 0, metric] = {"task_id": task, "n_shot": 0, "metric": metric, "value": value[-1]}
    run.scores = list(rows.values())
    told: Mapping[tuple[str, int], Any] = {(row["task_id"], row["n_shot"]): row.get("n") for row in run.scores}
    run.evaluations = [{"task_id": task, "n_shot": shots, "n_items": n} for (task, shots), n in told.items()]
