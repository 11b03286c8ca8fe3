"""What a logged name means: a loss and of which split, the learning rate, the count of tokens, or a metric."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from astraios.runs.metric_names import counts_tokens, held_out, is_of_steps

RATE = re.compile(r"^(?:(?:train|training)[/_.])?(?:learning_rate|lr)$|^lr-\w+$")
METRIC, LEARNING_RATE, COUNT = ":metric", ":learning_rate", ":tokens"
"""What is no loss; a loss is told by its split."""
NO_LOSS = (METRIC, LEARNING_RATE, COUNT)


@cache
def meaning(name: str) -> str:
    """METRIC, LEARNING_RATE, COUNT, or the split of a loss: test, test-SET or batch.

    >>> [meaning(name) for name in ("loss", "eval/loss", "eval_code_loss", "lr", "grad_norm")]
    ['batch', 'test', 'test-code', ':learning_rate', ':metric']
    """
    if split := held_out(name):
        return split
    if is_of_steps(name):
        return "batch"
    if RATE.match(name):
        return LEARNING_RATE
    return COUNT if counts_tokens(name) else METRIC


def number(value: Any) -> float | None:
    """A value as a number: Python's, NumPy's, or a tensor of one element; None for anything else."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, str | bytes | None):
        return None
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        return None
