"""Shared fixtures: the tiny ladder as it was measured, and the shared tables."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

TINY = {
    "ptuning": (4.720, 4.501, 4.430, 4.368),
    "ia3": (4.629, 4.388, 4.299, 4.206),
    "parallel": (4.581, 4.282, 4.191, 4.143),
    "adapterp": (4.472, 4.212, 4.113, 4.052),
    "adapterh": (4.416, 4.140, 4.052, 4.015),
    "lora": (4.374, 4.090, 3.986, 3.947),
    "fft": (4.139, 3.936, 3.858, 3.802),
}
TINY_SIZES = (73_536, 192_128, 448_992, 894_976)


@pytest.fixture(scope="session")
def tiny() -> pl.DataFrame:
    """Final test losses of seven tuning methods at four sizes."""
    return pl.DataFrame(
        [
            {
                "method_id": method, "run_id": f"{method}-{size}", "seed": 0, "model_id": f"tiny/{size}",
                "n_params": size, "n_tokens": 102_400, "loss": loss,
            }
            for method, losses in TINY.items()
            for size, loss in zip(TINY_SIZES, losses, strict=True)
        ]
    )  # fmt: skip


@pytest.fixture(scope="session")
def tiny_scores(tiny: pl.DataFrame) -> pl.DataFrame:
    """Three tasks on the tiny ladder: one linear in the loss, one sigmoid above chance, one that is flat."""
    rng = np.random.default_rng(3)
    curves = {
        "acc": (0.0, lambda loss: 0.9 - 0.12 * loss),
        "flat": (0.5, lambda loss: 0.72 + 0 * loss),
        "choice": (0.25, lambda loss: 0.25 + 0.75 / (1 + np.exp(3 * (loss - 3.9)))),
    }
    rows = []
    for run in tiny.iter_rows(named=True):
        for task, (chance, curve) in curves.items():
            p = curve(run["loss"])
            rows.append(
                {
                    "run_id": run["run_id"], "method_id": run["method_id"], "n_params": run["n_params"],
                    "loss": run["loss"], "task_id": task, "metric": "accuracy", "value": rng.binomial(500, p) / 500,
                    "stderr": float(np.sqrt(p * (1 - p) / 500)), "n": 500, "chance": chance, "ceiling": 1.0,
                    "higher_is_better": True,
                }
            )  # fmt: skip
    return pl.DataFrame(rows)


@pytest.fixture(scope="session")
def tables() -> Path:
    """The folder of shared scaling tables."""
    folder = Path(os.environ.get("ASTRAIOS_SHARED", Path(__file__).parents[3] / "shared")) / "data" / "scaling"
    if not folder.is_dir():
        pytest.skip(f"no shared tables at {folder}: set ASTRAIOS_SHARED")
    return folder
