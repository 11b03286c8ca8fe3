"""What a logged name means: a loss and of which split, the learning rate, the count of tokens, or a metric."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

HELD_OUT = re.compile(
    r"^(?:eval|val|valid|validation|test|dev)[/_.](?:(?P<set>.+)[/_.])?(?:loss|cross_entropy|ce_loss|nll)$"
)
BATCH = re.compile(r"^(?:(?:train|training)[/_.])?(?:loss|cross_entropy|ce_loss|nll|lm_loss)(?:_step)?$")
RATE = re.compile(r"^(?:(?:train|training)[/_.])?(?:learning_rate|lr)$|^lr-\w+$")
TOKENS = re.compile(
    r"^(?:(?:train|training|eval)[/_.])?(?:num_input_tokens_seen|n_tokens|num_tokens|tokens|tokens_seen|consumed_tokens)$"
)
METRIC, LEARNING_RATE, COUNT = ":metric", ":learning_rate", ":tokens"
"""What is no loss; a loss is told by its split."""
NO_LOSS = (METRIC, LEARNING_RATE, COUNT)


@cache
def meaning(name: str) -> str:
    """METRIC, LEARNING_RATE, COUNT, or the split of a loss: test, test-SET or batch.

    >>> [meaning(name) for name in ("loss", "eval/loss", "eval_code_loss", "lr", "grad_norm")]
    ['batch', 'test', 'test-code', ':learning_rate', ':metric']
    """
    if held_out := HELD_OUT.match(name):
        return f"test-{held_out['set']}" if held_out["set"] else "test"
    for pattern, what in ((BATCH, "batch"), (RATE, LEARNING_RATE), (TOKENS, COUNT)):
        if pattern.match(name):
            return what
    return METRIC


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
