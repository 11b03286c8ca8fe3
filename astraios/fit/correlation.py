"""Correlations between trainable parameters, losses and scores, by size and overall (the paper's tables 7 and 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import DataError, UsageError, did_you_mean

if TYPE_CHECKING:
    import polars as pl

COEFFICIENTS = ("kendall", "pearson", "spearman")


@dataclass(frozen=True)
class Correlation:
    """One coefficient between two columns, within one group or over all rows."""

    x: str
    y: str
    group: str | None
    coefficient: str
    value: float
    p_value: float
    n: int


def correlate(x: Sequence[float], y: Sequence[float], coefficient: str = "kendall") -> tuple[float, float]:
    """A coefficient and its two-sided p-value; NaN where a column does not vary or has fewer than three values.

    Raises:
        UsageError: an unknown coefficient.
    """
    from scipy import stats

    if coefficient not in COEFFICIENTS:
        raise UsageError(f"unknown coefficient {coefficient!r}: {did_you_mean(coefficient, COEFFICIENTS)}")
    a, b = np.asarray(x, float), np.asarray(y, float)
    there = np.isfinite(a) & np.isfinite(b)
    a, b = a[there], b[there]
    if len(a) < 3 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan"), float("nan")
    function = {"kendall": stats.kendalltau, "pearson": stats.pearsonr, "spearman": stats.spearmanr}[coefficient]
    result = function(a, b)
    return float(result[0]), float(result[1])


def correlations(
    frame: pl.DataFrame,
    pairs: Sequence[tuple[str, str]],
    *,
    group: str | None = None,
    coefficients: Sequence[str] = COEFFICIENTS,
) -> pl.DataFrame:
    """Coefficients with p-values for pairs of columns: over all rows, and within each value of `group`.

    Returns:
        Columns x, y, group (null: all rows), coefficient, value, p_value, n.

    Raises:
        DataError: a column is missing.
        UsageError: an unknown coefficient.
    """
    import polars as pl

    for name in [*(n for pair in pairs for n in pair), *([group] if group else [])]:
        if name not in frame.columns:
            raise DataError(f"no column {name!r} to correlate: the data have {', '.join(frame.columns)}")
    parts: list[tuple[str | None, pl.DataFrame]] = [(None, frame)]
    if group:
        parts += [(str(key), part) for (key,), part in frame.sort(group).group_by([group], maintain_order=True)]
    rows = []
    for label, part in parts:
        for x, y in pairs:
            kept = part.select(
                pl.col(x).cast(pl.Float64).alias("x"), pl.col(y).cast(pl.Float64).alias("y")
            ).drop_nulls()
            for coefficient in coefficients:
                value, p = correlate(kept["x"].to_list(), kept["y"].to_list(), coefficient)
                rows.append(Correlation(x, y, label, coefficient, value, p, len(kept)))
    return pl.DataFrame(rows)
