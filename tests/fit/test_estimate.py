"""The optimiser on published problems."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from astraios.fit.laws import LAWS
from astraios.fit.optimise import Problems, minimise


def chinchilla(tables: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = pl.read_parquet(tables / "chinchilla_epoch.parquet").filter(~pl.col("epoch_excluded"))
    x = np.log(np.stack([rows["n_params"].to_numpy(), rows["tokens"].to_numpy()]))
    centre = x.mean(1)
    return x - centre[:, None], np.log(rows["loss"].to_numpy()), centre


@pytest.mark.promise("fits have the certified and the published values")
def test_chinchilla_refit_has_the_published_values(tables: Path) -> None:
    law = LAWS.get("chinchilla")
    x, y, centre = chinchilla(tables)
    zero = np.zeros((1, 5))
    starts = law.guess(x, y, np.random.default_rng(0), 64)
    problems = Problems(law, x, y[None], np.ones((1, 240)), np.full((1, 1), 1e-3), zero, zero, *law.bounds())
    solution = minimise(problems, starts)
    best = solution.objective.argmin()
    values = dict(zip(law.names, law.natural(law.uncentre(solution.theta[best], centre)), strict=True))
    assert solution.objective[best] <= 1.018274e-3 * (1 + 1e-6)
    assert (solution.objective <= solution.objective[best] * (1 + 1e-6)).mean() >= 0.9
    assert solution.decrement[best] < 1e-10
    assert round(values["E"], 3) == 1.817
    assert round(values["alpha"], 3) == 0.347
    assert round(values["beta"], 3) == 0.367
    weights = np.random.default_rng(1).multinomial(240, np.full(240, 1 / 240), 500).astype(float)
    resampled = Problems(law, x, y[None], weights, np.full((1, 1), 1e-3), zero, zero, *law.bounds())
    theta = minimise(resampled, np.tile(solution.theta[best], (500, 1))).theta
    spread = dict(zip(law.names, law.natural(law.uncentre(theta, centre)).std(0), strict=True))
    published = {"A": 124.6, "B": 1293.0, "E": 0.03, "alpha": 0.02, "beta": 0.02}
    for name, error in published.items():
        assert spread[name] == pytest.approx(error, rel=0.35), name


def test_a_batch_is_its_problems() -> None:
    law = LAWS.get("power_offset")
    rng = np.random.default_rng(0)
    x = rng.uniform(-3, 3, (1, 20))
    y = np.log(2 + np.exp(-0.4 * x[0])) + 0.01 * rng.standard_normal((5, 20))
    zero = np.zeros((1, 3))
    args = (np.ones((1, 20)), np.full((1, 1), 0.013), zero, zero, *law.bounds())
    start = law.guess(x, y[0], rng, 1)
    together = minimise(Problems(law, x, y, *args), np.repeat(start, 5, axis=0))
    for i in range(5):
        alone = minimise(Problems(law, x, y[i : i + 1], *args), start)
        np.testing.assert_allclose(alone.objective[0], together.objective[i], rtol=1e-9)
    assert together.converged.all()
