"""Any table: CSV, TSV, JSON lines, JSON or Parquet, with --map COLUMN=NAME for columns of other names.

Four shapes: a row a run (a column for the loss, columns for scores); a row a step (a column `step`); a row a score
(columns task, metric, value); a row a value of a metric (columns step, metric, value, as trackers log). A column for
the run says which rows belong together; without one, rows that agree in all facts about the run do, and in a table of
a row a run all other columns are such facts too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError
from astraios.importers import Imported, Importer, Wanted
from astraios.importers._curves import Series, fill
from astraios.importers._files import head
from astraios.importers._models import FACTS, NUMBERS, WHOLE, from_config
from astraios.importers._runs import Found, Skipped, imported, step_number, task_row
from astraios.importers._table import ENDINGS, Table, read_table
from astraios.records import EvaluationRow, Score

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
        found: list[Found] = []
        for run, rows in _runs(table, columns):
            if columns.long_metrics:
                tasks |= fill(run, _series(table, columns.frame[rows]), wanted, skipped)
            elif columns.long_scores or columns.scores:
                _scores(run, columns, columns.frame[rows])
            for score in run.scores:
                tasks.setdefault(score.task_id, task_row(score.task_id, score.metric))
            if columns.row_a_run and len(rows) > 1:
                skipped.add(f"{run.label}, the same run again", f"{len(rows) - 1:,} rows; the latest counts")
            found.append(run)
        if columns.losses:
            _add_losses(table, columns, found)
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
    runs: pl.DataFrame | None = None
    """Number of the run by row."""

    def has(self, name: str) -> bool:
        return name in self.frame.columns

    @property
    def losses(self) -> list[str]:
        return [name for name in _LOSSES if self.has(name)]

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
    names, scores = _names(table, wanted)
    columns = [_typed(table, ours, theirs).alias(ours) for ours, theirs in names.items()]
    columns += [table.numbers(theirs).alias(theirs) for theirs in scores]
    import polars as pl

    frame = pl.DataFrame(columns).with_row_index("row")
    used = {*names.values(), *scores}
    others = table.frame.select(name for name in table.frame.columns if name not in used)
    found = _Columns(frame, scores, others if others.width else None)
    if not (found.losses or scores or found.long_scores or found.long_metrics):
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
    metrics = set(table.texts("metric")) if {"step", "metric", "value"} <= set(there) else set()
    names: dict[str, str] = {}
    scores: dict[str, tuple[str, str]] = {}
    for ours, theirs in wanted.columns.items():
        if theirs in metrics and theirs not in there:
            continue
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


def _runs(table: Table, columns: _Columns) -> Iterator[tuple[Found, list[int]]]:
    """The runs with the numbers of their rows; what is common to these is worked out for all runs at once."""
    import polars as pl

    facts = [name for name in _FACTS if columns.has(name)]
    if columns.has("n_tokens") and columns.row_a_run:
        facts.append("n_tokens")
    frame = columns.frame
    if columns.has("run_id"):
        key = ["run_id"]
    else:
        key = list(facts)
        if columns.row_a_run and columns.others is not None:
            extra = columns.others.select(pl.all().cast(pl.String).name.prefix("other "))
            frame, key = frame.hstack(extra), key + extra.columns
    if not key:
        raise UsageError(
            f"{table.path}: no column says which run a row belongs to, or anything about it: --map run_id=NAME"
        )
    groups = frame.group_by(key, maintain_order=True).agg(
        pl.col("row").alias("rows"),
        *(pl.col(name).drop_nulls().first().alias(f"first {name}") for name in facts),
        *(pl.col(name).drop_nulls().n_unique().alias(f"count {name}") for name in facts),
    )
    columns.runs = groups.with_row_index("run").select("run", pl.col("rows").alias("row")).explode("row")
    for group in groups.iter_rows(named=True):
        rows = group["rows"]
        for name in facts:
            if group[f"count {name}"] > 1:
                _refuse_two(table, columns.frame[rows], name)
        if columns.row_a_run and len(rows) > 1 and columns.losses and columns.has("run_id"):
            raise UsageError(
                f"{table.place(rows[1])}: run {group['run_id']!r} has several rows and no column says which step they "
                "are: --map step=NAME"
            )
        yield _run(table, columns, group, key, {name: group[f"first {name}"] for name in facts}), rows


def _run(table: Table, columns: _Columns, group: Mapping[str, Any], key: list[str], known: Mapping[str, Any]) -> Found:
    first = int(group["rows"][0])
    settings: dict[str, Any] = {"table": table.path.name}
    if columns.has("run_id"):
        settings["run"] = group["run_id"]
    elif columns.row_a_run and columns.others is not None:
        settings["columns"] = columns.others.row(first, named=True)
    return Found(
        label=str(group["run_id"]) if columns.has("run_id") else f"row {first + 1}",
        identity=[[name, group[name]] for name in key],
        facts={**known, **from_config({name: value for name, value in known.items() if value is not None})},
        settings=settings,
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
        steps = [step_number(step, table.place(int(row))) for step, row in rows.select("step", "row").iter_rows()]
        yield Series(str(name), steps, rows["value"].to_list())


def _add_losses(table: Table, columns: _Columns, found: list[Found]) -> None:
    """Puts the losses of all runs in their places."""
    import polars as pl

    step = pl.col("step") if columns.has("step") else pl.lit(1)
    if not columns.has("step") and columns.has("steps"):
        step = pl.col("steps").fill_null(1)
    tokens = pl.col("n_tokens") if columns.has("n_tokens") else pl.lit(None, pl.Int64)
    pieces = []
    for name in columns.losses:
        split: pl.Expr = pl.lit(_LOSSES[name])
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
