"""The chart of one fit: of real fits, through Altair to pictures."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import vl_convert

import astraios
from astraios import report
from astraios.fit.results import FitResult

SIZES = (1e8, 3e8, 1e9, 3e9)


def runs(methods: dict[str, float]) -> pl.DataFrame:
    return pl.DataFrame(
        [(m, n, 1.5 + rise * (n / 1e8) ** -0.2) for m, rise in methods.items() for n in SIZES],
        schema=["method", "n_params", "loss"],
        orient="row",
    )


def rows_of(result: FitResult, length: int) -> list[dict[str, float]]:
    spec = result.plot().to_dict()
    return next(rows for rows in spec["datasets"].values() if len(rows) == length)


def test_a_fit_draws_itself() -> None:
    result = astraios.fit(runs({"fft": 1.0}), law="power_offset")
    svg = vl_convert.vegalite_to_svg(result.plot().to_json())
    assert svg.startswith("<svg")
    assert "loss, nats per token" in svg
    assert svg.count("<path") >= 3 + len(SIZES), "two bands, a line, and a mark a run"
    assert vl_convert.vegalite_to_png(result.plot().to_json()).startswith(b"\x89PNG")
    assert report.plot(result).to_dict() == result.plot().to_dict()


def test_curve_and_runs_are_those_of_the_fit() -> None:
    result = astraios.fit(runs({"fft": 1.0, "lora": 1.3}), law="power_offset", group="method")
    curve = pl.DataFrame(rows_of(result, 2 * 60))
    assert curve["n_params"].min() == pytest.approx(SIZES[0])
    assert curve["n_params"].max() == pytest.approx(4 * SIZES[-1]), "beyond the data"
    again = result.predict(n_params=[4 * SIZES[-1]])
    ends = curve.filter(pl.col("n_params") > 3.999 * SIZES[-1])
    assert ends["mean"].to_list() == pytest.approx(again["mean"].to_list())
    dots = pl.DataFrame(rows_of(result, 2 * len(SIZES)))
    assert sorted(dots["loss"]) == pytest.approx(sorted(runs({"fft": 1.0, "lora": 1.3})["loss"]))
    svg = vl_convert.vegalite_to_svg(result.plot().to_json())
    assert "fft" in svg
    assert "lora" in svg


def test_further_inputs_are_held_where_the_chart_says() -> None:
    grid = [(n, d) for n in SIZES for d in (2e9, 1e10, 5e10)]
    frame = pl.DataFrame(
        [(n, d, 1.5 + 300 * n**-0.34 + 800 * d**-0.3) for n, d in grid], schema=["n_params", "tokens", "loss"],
        orient="row",
    )  # fmt: skip
    result = astraios.fit(frame, law="chinchilla", d="tokens")
    assert "at 50B tokens, the most in the data" in vl_convert.vegalite_to_svg(result.plot().to_json())
    curve = pl.DataFrame(rows_of(result, 60))
    assert np.allclose(curve["n_tokens"], 5e10)
    dots = pl.DataFrame(rows_of(result, len(grid)))
    assert set(dots.filter(pl.col("n_tokens") > 4e10)["shown"]) == {1.0}
    assert set(dots.filter(pl.col("n_tokens") < 4e10)["shown"]) == {0.3}, "runs on less data lie off the curve"


def test_a_law_of_tokens_alone_is_drawn_over_tokens() -> None:
    frame = pl.DataFrame({"n_params": [1e9] * 5, "tokens": [1e9, 3e9, 1e10, 3e10, 1e11]}).with_columns(
        loss=1.5 + 800 * pl.col("tokens") ** -0.3
    )
    result = astraios.fit(frame, law="data_power_offset", d="tokens")
    curve = pl.DataFrame(rows_of(result, 60))
    assert curve["n_tokens"].max() == pytest.approx(4e11)
    assert ">tokens" in vl_convert.vegalite_to_svg(result.plot().to_json())
