"""From runs as another tool has them to rows of the database: what all importers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError
from astraios.importers import Imported, Wanted
from astraios.importers._models import UNSPECIFIED, completed, method_row
from astraios.importers._private import clean, short_path

if TYPE_CHECKING:
    import polars as pl

ORIGIN = "imported"
FACTS = ("model_id", "method_id", "dataset_id", "seed", "n_params", "n_params_nonembedding", "n_trainable", "n_tokens",
         "steps", "tokens_per_step", "train_flops", "learning_rate", "bytes_per_token", "created_at")  # fmt: skip
"""Columns of the table run that a source can fill."""
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
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    """Columns of the table evaluation; settings as a mapping."""
    scores: list[dict[str, Any]] = field(default_factory=list)
    samples: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Skipped:
    """What was left out, with reasons; counts where it is many."""

    reasons: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, None] = field(default_factory=dict)
    """Metrics of a tracker that are neither loss nor score."""

    def add(self, what: str, why: str) -> None:
        """Notes something that was left out."""
        self.reasons.setdefault(short_path(what), why)


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


def task_row(task_id: str, metric: str, kind: str = "generation", higher_is_better: bool = True) -> dict[str, Any]:
    """Row of the table task; what astraios knows of a task goes before what a source says."""
    from astraios.importers import paper

    known = {row["task_id"]: row for row in paper.tasks()}
    described = {"task_id": task_id, "title": task_id, "kind": kind, "metric": metric, "chance": None,
                 "ceiling": None, "higher_is_better": higher_is_better, "citation": None}  # fmt: skip
    return known.get(task_id, described)


def imported(
    tool: str,
    runs: Iterable[Found],
    wanted: Wanted,
    skipped: Skipped,
    tasks: Mapping[str, Mapping[str, Any]] | None = None,
    adds: bool = False,
) -> Imported:
    """Rows by table of the runs that can be stored.

    A run without a number of parameters is skipped. Of a loss logged twice at one step the latest counts.

    Args:
        tool: beginning of each run_id.
        runs: what was found.
        wanted: what the user said.
        skipped: what was left out so far; more is added.
        tasks: rows of the table task by task_id.
        adds: as in `Imported`.

    Raises:
        UsageError: no run is left, or --set names one run and several were found.
        DataError: two runs of the source are one and the same.
    """
    rows: dict[str, list[dict[str, Any]]] = {
        name: []
        for name in ("base_model", "tuning_method", "dataset", "run", "attempt", "task", "evaluation", "score",
                     "sample_score")
    }  # fmt: skip
    seen: dict[str, Found] = {}
    lacking: str | None = None
    for found in runs:
        described = _describe(tool, found, wanted)
        run = described["run"]
        if run["n_params"] is None:
            reason = "does not say how many parameters the base model has: --set n_params=SIZE"
            lacking = lacking or f"{found.label} {reason}"
            skipped.add(found.label, reason)
            continue
        key = run["run_id"]
        if key in seen:
            first = seen[key]
            if wanted.values.get("run_id"):
                raise UsageError(f"--set run_id={key}: the source holds several runs: {first.label}, {found.label}")
            if not _same(first, found):
                raise DataError(f"{found.label}: the same run as {first.label}, with other content: import one of them")
            skipped.add(found.label, f"the same run as {first.label}")
            continue
        seen[key] = found
        for table in ("base_model", "tuning_method", "dataset"):
            rows[table] += [described[table]] if described.get(table) else []
        rows["run"].append(run)
        rows["attempt"].append({"run_id": key, "attempt": 1, "state": "done", **found.attempt})
        mark = {"run_id": key, "attempt": 1}
        for table, content in (
            ("evaluation", found.evaluations), ("score", found.scores), ("sample_score", found.samples)
        ):  # fmt: skip
            rows[table] += [{**one, **mark} for one in clean(content, wanted.private)]
    if skipped.metrics:
        skipped.add(
            "metrics that are no losses by their names",
            f"{', '.join(skipped.metrics)} (--map loss=NAME, --map score:TASK:METRIC=NAME)",
        )
    if not rows["run"]:
        why = lacking or "; ".join(f"{what}: {why}" for what, why in skipped.reasons.items()) or "it holds no run"
        raise UsageError(f"nothing to import: {clean(why)}")
    used = {row["task_id"] for row in rows["evaluation"]}
    rows["task"] = [clean(dict(row), wanted.private) for name, row in (tasks or {}).items() if name in used]
    return Imported(_frames(rows, _losses(seen, skipped)), skipped.reasons, adds)


def _same(one: Found, other: Found) -> bool:
    if one.scores != other.scores or one.samples != other.samples or (one.losses is None) != (other.losses is None):
        return False
    return one.losses is None or other.losses is None or one.losses.equals(other.losses)


def _describe(tool: str, found: Found, wanted: Wanted) -> dict[str, Any]:
    """Rows of base_model, tuning_method, dataset and run."""
    facts = {**found.facts, **{name: value for name, value in wanted.values.items() if value is not None}}
    facts = completed(facts)
    n_params = facts.get("n_params")
    model = facts.get("model_id") or (f"unnamed/{n_params}" if n_params else None)
    model = clean(str(model), wanted.private) if model else None
    method = clean(str(facts.get("method_id") or UNSPECIFIED), wanted.private)
    run: dict[str, Any] = {name: facts.get(name) for name in FACTS}
    if found.losses is not None and len(found.losses):
        run["steps"] = run["steps"] or max(found.losses["step"].to_list())
        run["n_tokens"] = run["n_tokens"] or found.losses["n_tokens"].max()
    run |= {
        "run_id": wanted.values.get("run_id") or run_id(tool, found.identity),
        "origin": ORIGIN,
        "model_id": model,
        "method_id": method,
        "settings": json.dumps(clean({"source": tool, "name": found.label, **found.settings}, wanted.private)),
    }
    dataset = facts.get("dataset_id")
    if dataset:
        run["dataset_id"] = dataset = clean(str(dataset), wanted.private)
    return {
        "run": run,
        "base_model": {
            "model_id": model, "ladder": facts.get("ladder"), "architecture": facts.get("architecture"),
            "revision": facts.get("revision"), "n_params": n_params,
            "n_params_nonembedding": facts.get("n_params_nonembedding"),
        },
        "tuning_method": method_row(method),
        "dataset": {"dataset_id": dataset, "name": dataset, "hash": "not known"} if dataset else None,
    }  # fmt: skip


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


def _frames(rows: Mapping[str, list[dict[str, Any]]], losses: pl.DataFrame | None) -> dict[str, pl.DataFrame]:
    import polars as pl

    frames = {}
    for table, content in rows.items():
        plain = [
            {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in row.items()}
            for row in content
        ]
        if plain:
            frames[table] = pl.DataFrame(plain, infer_schema_length=None)
    if losses is not None and len(losses):
        frames["loss_point"] = losses
    return frames
