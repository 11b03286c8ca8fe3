"""Axes and roles: nothing is averaged that nobody said is noise."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from astraios.errors import UsageError
from astraios.fit.axes import Points, Roles, arrange


def runs(**columns: list[object]) -> pl.DataFrame:
    """Three sizes times whatever else varies."""
    n = len(next(iter(columns.values())))
    sizes = np.repeat([1e7, 1e8, 1e9], n)
    content = {name: values * 3 for name, values in columns.items()}
    return pl.DataFrame({"n_params": sizes, "loss": 5 - 0.3 * np.log10(sizes), **content}).with_columns(
        run_id=pl.int_range(pl.len()).cast(pl.String)
    )


def sort(frame: pl.DataFrame, *series: str, **said: object) -> Points:
    return arrange(frame, inputs=["n_params"], series=series, roles=Roles(**said))  # type: ignore[arg-type]


def test_a_fact_that_differs_within_a_point_is_asked_for() -> None:
    frame = runs(method=["a", "a", "b", "b"], quantization=["none", "8bit"] * 2)
    with pytest.raises(UsageError, match=r"quantization \(8bit, none\).*--by.*--where.*--best-over.*--repeat"):
        sort(frame, "method")
    assert {*sort(frame, "method", by=("quantization",)).frame["series"]} == {
        "a quantization=8bit", "a quantization=none", "b quantization=8bit", "b quantization=none",
    }  # fmt: skip
    assert len(sort(frame, "method", where=(("quantization", "8bit"),)).frame) == 6
    roles = {axis.fact: axis.role for axis in sort(frame, "method", repeat=("quantization",)).axes}
    assert roles == {"n_params": "input", "method": "series", "quantization": "repeat"}


def test_what_only_tells_series_apart_needs_no_word() -> None:
    frame = runs(method=["a", "b"], quantization=["none", "8bit"])
    assert {axis.fact: axis.role for axis in sort(frame, "method").axes}["quantization"] == "series"


def test_methods_on_different_data_are_asked_about() -> None:
    frame = runs(method=["a", "b"], dataset_id=["x", "y"])
    with pytest.raises(UsageError, match=r"dataset_id \(x, y\)"):
        sort(frame, "method")


def test_settings_that_vary_make_series_of_their_own() -> None:
    frame = runs(method=["lora", "lora", "fft"], rank=[8, 64, None])
    points = arrange(frame, inputs=["n_params"], series=["method"], roles=Roles(), settings=["rank"])
    assert sorted({*points.frame["series"]}) == ["fft", "lora rank=64", "lora rank=8"]
    assert {axis.fact: axis.role for axis in points.axes}["rank"] == "series"


def test_seeds_are_replicates_and_rates_are_tuned() -> None:
    frame = runs(learning_rate=[1e-4, 1e-3, 1e-2, 1e-3], seed=[0, 0, 0, 1])
    frame = frame.with_columns(loss=pl.col("loss") * (1 + 0.02 * (pl.col("learning_rate") / 1e-3).log() ** 2))
    points = sort(frame)
    assert {axis.fact: axis.role for axis in points.axes} == {
        "n_params": "input", "learning_rate": "tuned", "seed": "repeat",
    }  # fmt: skip
    assert len(points.frame) == 3
    np.testing.assert_allclose(points.frame.sort("n_params")["loss"], [2.9, 2.6, 2.3], rtol=1e-3)
    assert points.optima[0].at({"n_params": 1e9}, 0.9)["value"] == pytest.approx(1e-3, rel=0.05)


def test_an_edge_is_said() -> None:
    frame = runs(learning_rate=[1e-5, 3e-5, 1e-4])
    frame = frame.with_columns(loss=pl.col("loss") * (1 + 0.02 * (pl.col("learning_rate") / 1e-3).log() ** 2))
    [note] = sort(frame).warnings
    assert note.code == "undertuned"
    assert "1e+07" in note.message


def test_numbers_that_never_come_back_are_taken_for_measurements_and_said() -> None:
    frame = runs(seed=list(range(8)))
    points = sort(frame.with_columns(minutes=pl.int_range(pl.len()) * 1.7))
    assert [note.code for note in points.warnings] == ["unused_columns"]
    assert "minutes" in points.warnings[0].message


def test_a_fact_has_one_role() -> None:
    with pytest.raises(UsageError, match="two roles"):
        Roles(by=("rank",), repeat=("rank",))
    with pytest.raises(UsageError, match="no fact 'rnak'"):
        sort(runs(rank=[1]), by=("rnak",))


def test_what_goes_with_a_named_input_is_that_input() -> None:
    frame = runs(quantization=["none", "8bit", "nf4"], bits=[32, 8, 4], origin=["a", "b", "b"])
    keep = frame.drop("origin")
    points = arrange(keep, inputs=["n_params", "bits"], series=[], roles=Roles(), named=["bits"], curated=True)
    assert {axis.fact: axis.role for axis in points.axes} == dict.fromkeys(
        ("n_params", "bits", "quantization"), "input"
    )
    with pytest.raises(UsageError, match="quantization"):
        arrange(keep, inputs=["n_params", "bits"], series=[], roles=Roles(), curated=True)
    with pytest.raises(UsageError, match="origin"):
        arrange(frame, inputs=["n_params", "bits"], series=[], roles=Roles(), named=["bits"], curated=True)
