"""Which of a tracker's metrics are losses, scores or counts of tokens: told by --map, else by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from astraios.errors import UsageError
from astraios.importers import Wanted
from astraios.importers._runs import Found, Skipped, points, step_number, task_row
from astraios.records import EvaluationRow, Score, TaskRow
from astraios.runs.metric_names import counts_tokens, held_out, held_out_beside, is_of_epochs, is_of_steps

_MEAN = re.compile(r"^(?:train[/_.])?train_loss$")
"""What the Trainer calls the mean over all of training, logged once at its end."""
_OBJECTIVE = re.compile(
    r"^(?:(?:eval|train)[/_])?(?:rewards/(?:chosen|rejected|accuracies|margins)|rewards?|reward_std|mean_reward|margin"
    r"|objective/(?:kl|rlhf_reward|scores)|completions/mean_length|rewards/.+/mean)$"
)
"""What trainers of preferences and rewards (DPO, KTO, GRPO, ...) log beside a loss that is not one of tokens."""
_SPLITS = ("loss", "test_loss", "train_loss", "batch_loss")
"""What --map calls losses: the test split (twice), the fixed training set, the loss of training steps."""


@dataclass(frozen=True)
class Series:
    """One metric over steps."""

    name: str
    steps: Sequence[Any]
    """As the source has them; those of losses are checked."""
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
        found.tokens = next((name for name in names if counts_tokens(name)), None)
    if not found.losses:
        found.losses = _guess(names)
    return found


_NOT_METRICS = ("step", "run_id", "model_id", "method_id", "dataset_id", "n_params", "n_trainable", "seed",
                "learning_rate")  # fmt: skip
"""What --map says about settings and steps."""


def is_batch(name: str) -> bool:
    """Whether a metric is called as the loss of training steps, or as its mean over an epoch or the run."""
    return is_of_steps(name) or is_of_epochs(name) or name.strip().lower() in ("loss_nats", "batch_loss")


def _guess(names: Sequence[str]) -> dict[str, str]:
    losses: dict[str, str] = {}
    for name in names:
        split = held_out_beside(name, losses.values())
        if split is None and is_of_steps(name):
            split = "batch"
        if split is not None and split not in losses.values():
            losses[name] = split
    if "batch" not in losses.values():
        epoch = next((name for name in names if is_of_epochs(name)), None)
        losses |= {epoch: "batch"} if epoch else {}
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

    Raises:
        DataError: a step of a loss is no whole number or out of range.
        UsageError: --map names a metric that the run has not.
    """
    by_name = {one.name: one for one in series}
    means = [name for name, one in by_name.items() if _MEAN.match(name) and _is_mean(one, by_name)]
    for name in means:
        if name not in wanted.columns.values():
            del by_name[name]
            skipped.add(f"metric {name}", "the mean over all of training")
    what = roles(by_name, wanted)
    if not any(column in _SPLITS for column in wanted.columns) and any(map(_OBJECTIVE.match, by_name)):
        for name in [name for name in what.losses if not name.lower().endswith(("nll_loss", "nll"))]:
            del what.losses[name], by_name[name]
            skipped.add(f"metric {name}", "the objective of training on preferences or rewards, no loss of tokens "
                        "(--map loss=NAME takes it)")  # fmt: skip
    tokens = _tokens(by_name, what)
    rows: list[tuple[str, int, int | None, float | None]] = []
    tasks: dict[str, TaskRow] = {}
    for name, one in by_name.items():
        if name in what.losses:
            split, where = what.losses[name], f"{found.label}, {name}"
            steps = [step_number(step, where) for step in one.steps]
            rows += [(split, step, tokens.get(step), value) for step, value in zip(steps, one.values, strict=True)]
        elif name in what.scores:
            task, metric = what.scores[name]
            values = [value for value in one.values if value is not None]
            found.scores.append(Score.told(task, metric, values[-1] if values else None))
            if task not in tasks:
                found.evaluations.append(EvaluationRow(task_id=task, n_shot=0, settings={"metric": name}))
                tasks[task] = task_row(task, metric)
        elif not counts_tokens(name):
            skipped.metrics[name] = None
    found.losses = points(rows)
    return tasks


def _is_mean(one: Series, by_name: Mapping[str, Series]) -> bool:
    """Whether a `train_loss` is a summary: one value, beside the losses that it is the mean of."""
    return len(one.values) <= 1 and any(
        (is_of_steps(name) and not _MEAN.match(name)) or held_out(name) for name in by_name
    )


def _tokens(by_name: Mapping[str, Series], what: Roles) -> dict[Any, int]:
    """Tokens seen by step, of the metric that counts them; a count that begins anew where a run was resumed goes on.

    One that falls again and again is of single steps, and no count of what was seen.
    """
    if not what.tokens:
        return {}
    one = by_name[what.tokens]
    told = [(step, int(value)) for step, value in zip(one.steps, one.values, strict=True)
            if value is not None and 0 <= value < 1 << 63]  # fmt: skip
    tokens: dict[Any, int] = {}
    before = last = falls = 0
    for step, value in told:
        if value < last:
            falls += 1
            before = max((count for at, count in tokens.items() if at < step), default=0)
        last = value
        tokens[step] = before + value
    return tokens if falls <= max(1, len(told) // 10) else {}
