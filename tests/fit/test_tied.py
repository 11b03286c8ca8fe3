"""The law whose shape all series share, and which laws `auto` considers for which data."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from astraios.fit.api import fit
from astraios.fit.observations import read
from astraios.fit.weigh import candidates
from tests.fit.analysing import analyse

SIZES = np.array([1e6, 2e6, 4e6, 8e6])


def made(rng: np.random.Generator, noise: float = 0.002) -> pl.DataFrame:
    curve = 2.0 + 1.5 * (SIZES / 1e6) ** -0.4
    rows = []
    for m, shift in enumerate((0.0, 0.02, 0.05, 0.09)):
        loss = curve * np.exp(shift + noise * rng.standard_normal(4))
        rows += [{"method_id": f"m{m}", "run_id": f"{m}-{i}", "n_params": n, "n_tokens": None, "loss": v}
                 for i, (n, v) in enumerate(zip(SIZES, loss, strict=True))]  # fmt: skip
    return pl.DataFrame(rows, schema_overrides={"n_tokens": pl.Int64})


def test_shifts_of_a_shared_curve_are_recovered() -> None:
    covered, errors = [], []
    truth = 2.0 + 1.5 * 32.0**-0.4
    for seed in range(6):
        found = fit(made(np.random.default_rng(seed)), law="relative", group="method_id")
        params = [found.params[f"m{m}"] for m in range(4)]
        assert params[0]["E"] == params[3]["E"], "the curve is one"
        shifts = np.array([p["delta"] for p in params])
        assert shifts - shifts[0] == pytest.approx([0, 0.02, 0.05, 0.09], abs=0.006)
        at = found.predict([32e6])
        covered += [low <= truth * np.exp(s) <= high for low, high, s in
                    zip(at["low"], at["high"], (0, 0.02, 0.05, 0.09), strict=True)]  # fmt: skip
        errors.append(abs(at["mean"][0] / truth - 1))
    assert np.mean(covered) >= 0.8
    assert np.mean(errors) < 0.02


def test_a_shared_curve_carries_a_method_with_two_sizes() -> None:
    frame = made(np.random.default_rng(0)).filter((pl.col("method_id") != "m3") | (pl.col("n_params") < 3e6))
    found = {p.method_id: p for p in analyse(frame, law="relative", targets=[32e6]).of("target")}
    assert found["m3"].mean == pytest.approx((2.0 + 1.5 * 32.0**-0.4) * np.exp(0.09), rel=0.03)
    assert analyse(frame, law="relative", targets=[32e6]).fitted()[0].law == "relative"


@pytest.mark.parametrize(
    ("count", "more"), [(4, set()), (6, {"shifted_power"}), (8, {"shifted_power", "bounded"}),
                        (10, {"shifted_power", "bounded", "broken_power"})]
)  # fmt: skip
def test_bent_laws_need_sizes(count: int, more: set[str]) -> None:
    sizes = 1e6 * 2.0 ** np.arange(count)
    frame = pl.DataFrame({"n_params": sizes, "loss": 2 + (sizes / 1e6) ** -0.3})
    assert {law.name for law in candidates("auto", read(frame))} == {"power", "power_offset"} | more


def test_repeated_data_bring_their_law() -> None:
    rng = np.random.default_rng(0)
    n, unique = np.exp(rng.uniform(15, 19, 40)), np.exp(rng.uniform(18, 20, 40))
    epochs = np.exp(rng.uniform(0, 3, 40))
    worth = unique * (1 + 6.0 * (1 - np.exp(-(epochs - 1) / 6.0)))
    loss = (1.8 + 400 * n**-0.34 + 1500 * worth**-0.36) * np.exp(0.003 * rng.standard_normal(40))
    frame = pl.DataFrame({"n_params": n, "tokens": unique * epochs, "unique": unique, "loss": loss})
    inputs = {"n_params": "n_params", "n_tokens": "tokens", "unique_tokens": "unique"}
    assert "data_constrained" in {law.name for law in candidates("auto", read(frame, inputs=inputs))}
    once = frame.with_columns(unique=pl.col("tokens"))
    assert "data_constrained" not in {law.name for law in candidates("auto", read(once, inputs=inputs))}
    found = fit(frame, d="tokens", u="unique")
    assert found.weights["data_constrained"] > 0.5
    twice = found.predict([1e8], [4e9], [2e8])["mean"][0]
    assert twice > found.predict([1e8], [4e9])["mean"][0], "seen twenty times is worth less than new"
