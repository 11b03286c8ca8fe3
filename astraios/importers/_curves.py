"""Which of a tracker's metrics are losses, scores or counts of tokens: told by --map, else by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from astraios.errors import UsageError
from astraios.importers import Wanted
from astraios.importers._runs import Found, Skipped, points, task_row
from astraios.records import EvaluationRow, Score, TaskRow

_HELD_OUT = re.compile(
    r"^(?:eval|val|valid|validation|test|dev)[/_.](?:(?P<set>.+)[/_.])?(?:loss|cross_entropy|ce_loss|nll)$"
)
_BATCH = re.compile(r"^(?:(?:train|training)[/_.])?(?:loss|cross_entropy|ce_loss|nll|lm_loss)$")
_TOKENS = re.compile(
    r"^(?:train[/_.])?(?:num_input_tokens_seen|n_tokens|num_tokens|tokens|tokens_seen|consumed_tokens)$"
)
_FINAL = {"train_loss": "the mean over all of training"}
_SPLITS = ("loss", "test_loss", "train_loss", "batch_loss")
"""What --map calls losses: the test split (twice), the fixed training set, the loss of training steps."""


@dataclass(frozen=True)
class Series:
    """One metric over steps."""

    name: str
    steps: Sequence[int]
    values: Sequence[float | None]


@dataclass
class Roles:
    """What each metric of a source is."""

    losses: dict[str, str] = field(default_factory=dict)
    """Split by name of the metric."""
    scores: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Task and metric by name of the metric."""
    tokens: str | None = None


def roles(names: Iterable[str], wanted: Wanted) -> Roles:
    """What the metrics of a source are.

    --map loss=NAME (or test_loss, train_loss, batch_loss), --map tokens=NAME and --map score:TASK:METRIC=NAME decide;
    where no loss is named, the usual names are: eval/loss, val_loss, train/loss, eval_SET_loss (split "test-SET").

    Raises:
        UsageError: --map names a metric that the source has not, or something that isn't a metric.
    """
    names = list(dict.fromkeys(names))
    found = Roles()
    for ours, theirs in wanted.columns.items():
        if ours in _NOT_METRICS:
            continue
        if theirs not in names:
            close = ", ".join(sorted(names)[:12]) or "none"
            raise UsageError(f"--map {ours}={theirs}: the source has no metric {theirs!r}; it has: {close}")
        if ours in _SPLITS:
            found.losses[theirs] = {"loss": "test"}.get(ours, ours.removesuffix("_loss"))
        elif ours in ("tokens", "n_tokens"):
            found.tokens = theirs
        elif ours.startswith("score:") and ours.count(":") == 2:
            _, task, metric = ours.split(":")
            found.scores[theirs] = (task, metric)
        else:
            raise UsageError(
                f"--map {ours}=...: for metrics of a tracker write loss, train_loss, batch_loss, tokens, step or "
                "score:TASK:METRIC"
            )
    if found.tokens is None:
        found.tokens = next((name for name in names if _TOKENS.match(name)), None)
    if not found.losses:
        found.losses = _guess(names)
    return found


_NOT_METRICS = ("step", "run_id", "model_id", "method_id", "dataset_id", "n_params", "n_trainable", "seed",
                "learning_rate")  # fmt: skip
"""What --map says about settings and steps."""


def _guess(names: Sequence[str]) -> dict[str, str]:
    losses: dict[str, str] = {}
    for name in names:
        if name in _FINAL:
            continue
        held_out = _HELD_OUT.match(name)
        if held_out:
            split = f"test-{held_out['set']}" if held_out["set"] else "test"
        elif _BATCH.match(name):
            split = "batch"
        else:
            continue
        if split not in losses.values():
            losses[name] = split
    return losses


def mapped_config(config: Mapping[str, Any], wanted: Wanted) -> dict[str, Any]:
    """A run's settings with those that --map names (n_params=NAME, model_id=NAME, ...) under our names too."""
    ours = {
        column: config[name] for column, name in wanted.columns.items() if column in _NOT_METRICS and name in config
    }
    return {**config, **ours}


def fill(found: Found, series: Iterable[Series], wanted: Wanted, skipped: Skipped) -> dict[str, TaskRow]:
    """Puts a run's metrics in their places; the rest is noted as skipped.

    Returns:
        Rows of the table task, by task_id.
    """
    by_name = {one.name: one for one in series}
    what = roles(by_name, wanted)
    tokens = {}
    if what.tokens:
        kept = by_name[what.tokens]
        tokens = {
            step: int(value)
            for step, value in zip(kept.steps, kept.values, strict=True)
            if value is not None and value - value == 0
        }
    rows, tasks = [], {}
    for name, one in by_name.items():
        if name in what.losses:
            split = what.losses[name]
            rows += [(split, step, tokens.get(step), value) for step, value in zip(one.steps, one.values, strict=True)]
        elif name in what.scores:
            task, metric = what.scores[name]
            values = [value for value in one.values if value is not None]
            found.scores.append(Score.told(task, metric, values[-1] if values else None))
            if task not in tasks:
                found.evaluations.append(EvaluationRow(task_id=task, n_shot=0, settings={"metric": name}))
                tasks[task] = task_row(task, metric)
        elif name != what.tokens:
            if name in _FINAL:
                skipped.add(f"metric {name}", _FINAL[name])
            else:
                skipped.metrics[name] = None
    found.losses = points(rows)
    return tasks
