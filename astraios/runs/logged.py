"""What the logs of a run hold: lines of JSON as points, those of a branch that was left taken out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from astraios.records import LossPoint, MetricPoint, ScorePoint
from astraios.runs.log import read_lines


@dataclass(frozen=True)
class Logged:
    """What the logs of a run hold: of a step logged twice (before and after an interruption) the last."""

    losses: list[LossPoint]
    points: list[ScorePoint]
    metrics: list[MetricPoint]

    @property
    def step(self) -> int | None:
        """The last; None where nothing was logged."""
        return max((one.step for one in self._all()), default=None)

    @property
    def n_tokens(self) -> int | None:
        """Those trained on, where they were logged."""
        return max((one.n_tokens for one in self._all() if one.n_tokens is not None), default=None)

    @property
    def learning_rate(self) -> float | None:
        """The largest, where it was logged."""
        return max((one.learning_rate for one in self.losses if one.learning_rate is not None), default=None)

    def _all(self) -> Iterator[LossPoint | ScorePoint | MetricPoint]:
        yield from self.losses
        yield from self.points
        yield from self.metrics


def loss_points(content: bytes) -> list[LossPoint]:
    """The losses of a log, in order of split and step."""
    latest = {(line["split"], line["step"]): line for line in current_lines(content)}
    return [LossPoint(**latest[key]) for key in sorted(latest)]


def score_points(content: bytes) -> list[ScorePoint]:
    """The scores along training of a log, in order of task, metric and step."""
    points = [ScorePoint(**line) for line in current_lines(content)]
    latest = {(point.task_id, point.metric, point.step): point for point in points}
    return [latest[key] for key in sorted(latest)]


def metric_points(content: bytes) -> list[MetricPoint]:
    """The other numbers of a log, in order of name and step."""
    latest = {
        (name, line["step"]): MetricPoint(name, line["step"], line["n_tokens"], value)
        for line in current_lines(content)
        for name, value in line["values"].items()
    }
    return [latest[key] for key in sorted(latest)]


def current_lines(content: bytes) -> list[dict[str, Any]]:
    """Lines of a log without those that a resume went back over."""
    lines = read_lines(content)
    if not any("resumed" in line for line in lines):
        return lines
    kept: list[dict[str, Any]] = []
    resumed = False
    for line in lines:
        if line.get("resumed"):
            resumed = True
            continue
        if resumed:
            kept = [one for one in kept if one["step"] <= line["step"]]
            resumed = False
        kept.append(line)
    return kept
