"""What a run costs: device-hours of a method at a size, from the runs that were measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from astraios.errors import FitError

if TYPE_CHECKING:
    import polars as pl


def cost_model(measured: pl.DataFrame) -> Callable[[str, float], float]:
    """Device-hours as a power of the size, one for each method.

    The exponent is least squares over the method's sizes, kept between 0 (overhead alone) and 2 (size and data grow
    together); a method that was never measured costs what the dearest one does.

    Args:
        measured: columns method_id, n_params and hours (device-hours of a run).

    Raises:
        FitError: nothing was measured.
    """
    import polars as pl

    measured = measured.drop_nulls().filter(pl.col("hours") > 0)
    if measured.is_empty():
        raise FitError("no run has a measured cost (device_seconds): run `astraios collect`, or give costs")
    lines = {
        str(method): _line(np.log(part["n_params"].to_numpy()), np.log(part["hours"].to_numpy()))
        for (method,), part in measured.group_by(["method_id"])
    }

    def hours(method_id: str, n_params: float) -> float:
        known = [lines[method_id]] if method_id in lines else list(lines.values())
        return max(float(np.exp(level + slope * np.log(n_params))) for level, slope in known)

    return hours


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 1.0
    slope = min(2.0, max(0.0, slope))
    return float(y.mean() - slope * x.mean()), slope
