"""Further inputs of laws, by name: experts, bits of the weights, trainable parameters, shares of domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from astraios.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

USUAL = ("n_params", "n_tokens", "unique_tokens", "steps")
"""Inputs that have options of their own."""
LEAST = 1e-9
"""What a share of 0 counts as: inputs are taken as logarithms."""


def known() -> tuple[str, ...]:
    """Names of further inputs that some law takes."""
    from astraios.fit.laws import LAWS

    names = dict.fromkeys(name for law in LAWS for name in law.inputs if name not in USUAL)
    return tuple(sorted(names))


def is_share(name: str) -> bool:
    """Whether an input is a share, which may be 0."""
    return name == "share" or name.startswith("share_")


def check_inputs(inputs: Mapping[str, str]) -> dict[str, str]:
    """The same, if laws know these inputs.

    Raises:
        UsageError: no law takes one of them.
    """
    for name in inputs:
        if name not in known():
            raise UsageError(f"no law takes an input {name!r}: {did_you_mean(name, known())}")
    return dict(inputs)


def with_shares(frame: pl.DataFrame, inputs: Mapping[str, str]) -> pl.DataFrame:
    """The frame with shares of 0 as the least there is."""
    import polars as pl

    shares = [column for name, column in inputs.items() if is_share(name) and column in frame.columns]
    return frame.with_columns(
        pl.when(pl.col(column) == 0).then(LEAST).otherwise(pl.col(column)).alias(column) for column in shares
    )
