"""Sizes of a study's own ladder: what its rungs are called, and which of them can be run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from astraios.errors import UsageError
from astraios.fit.sizes import parse_size

if TYPE_CHECKING:
    import polars as pl

_LABEL = re.compile(r"(?:^|[-_])([0-9]+(?:\.[0-9]+)?[kmbt])(?=$|[-_])", re.IGNORECASE)
NEAR = 0.25
"""A number in a model's name counts as its size within this share: "128k" may be a context length."""


def runnable_sizes(n_params: Sequence[float], ladder: str | None, target: float) -> list[float]:
    """Sizes of which a run can be bought: those that were run, and what else a built-in ladder has below the target."""
    return sorted({*n_params, *(float(size) for _, size in _rungs(ladder) if size < 0.99 * target)})


def ladder_names(models: pl.DataFrame, ladder: str | None) -> dict[str, float]:
    """Parameters by the names that the base models of one ladder go by, lower case; names that mean two are left out.

    A model is called by its id, by the last part of it, and by the size in it ("6.9b" in EleutherAI/pythia-6.9b);
    a registered ladder gives short names to its rungs ("1B").

    Args:
        models: columns model_id, ladder and n_params.
        ladder: the ladder, or None for models without one.
    """
    found: dict[str, set[float]] = {}
    for model_id, n_params in models.filter(models["ladder"].eq_missing(ladder)).select("model_id", "n_params").rows():
        if n_params is not None:
            for name in _names(model_id, n_params):
                found.setdefault(name, set()).add(float(n_params))
    return {name: sizes.pop() for name, sizes in found.items() if len(sizes) == 1} | rung_names(ladder)


def rung_names(ladder: str | None) -> dict[str, float]:
    """Parameters by the short names that a registered ladder gives to its rungs, lower case; empty for any other."""
    return {name.lower(): float(size) for name, size in _rungs(ladder) if name}


def _rungs(ladder: str | None) -> tuple[tuple[str, int], ...]:
    from astraios.models.ladders import LADDERS

    return LADDERS.get(ladder).sizes() if ladder and ladder in LADDERS else ()


def _names(model_id: str, n_params: float) -> list[str]:
    last = model_id.rsplit("/", 1)[-1].lower()
    labels = [label for label in _LABEL.findall(last) if abs(_number(label) / n_params - 1) < NEAR]
    return list(dict.fromkeys([model_id.lower(), last, *labels]))


def _number(label: str) -> float:
    try:
        return parse_size(label)
    except UsageError:
        return 0.0
