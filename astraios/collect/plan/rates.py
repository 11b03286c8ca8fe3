"""The learning rate that a recipe plans, over the whole run."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from astraios.train.loop import TrainSpec, learning_rate_at

SCHEDULE = 200
"""Steps at which a planned schedule is written down."""


def rates(spec: TrainSpec, steps: Iterable[int]) -> dict[int, float]:
    """Learning rate by step, from 1 on: at those that are named and along the whole run."""
    grid = {*steps, *(max(1, round(spec.steps * i / SCHEDULE)) for i in range(1, SCHEDULE + 1))}
    return {step: learning_rate_at(spec, spec.learning_rate or 0.0, step - 1) for step in sorted(grid)}


def recipe(told: Mapping[str, Any]) -> TrainSpec | None:
    """The recipe that a run directory wrote down (`train` in cell.json), if it says the learning rate."""
    names = {one.name for one in dataclasses.fields(TrainSpec)}
    try:
        spec = TrainSpec(**{name: value for name, value in told.items() if name in names})
    except (TypeError, ValueError):
        return None
    return spec if spec.learning_rate else None
