"""astraios.fit as a function and as a package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import astraios.fit
from astraios.errors import DataError, UsageError
from astraios.fit.laws import LAWS


def test_package_is_callable_and_importable(tiny: pl.DataFrame) -> None:
    result = astraios.fit(tiny, group="method_id")
    assert result.law == "auto"
    assert "chinchilla" in LAWS
    assert set(result.params) == set(tiny["method_id"])


def test_predict_has_both_intervals(tiny: pl.DataFrame) -> None:
    one = astraios.fit(tiny.filter(pl.col("method_id") == "fft"))
    frame = one.predict([894_976, 5e6])
    assert frame.columns == ["n_params", "n_tokens", "mean", "low", "high", "new_low", "new_high"]
    assert (frame["low"] < frame["mean"]).all()
    assert (frame["mean"] < frame["high"]).all()
    width = frame["high"] - frame["low"]
    assert width[1] > width[0]
    assert (frame["new_high"] - frame["new_low"] > width * 0.98).all()
    assert set(one.params) == set(one.ensemble.best.law.names)
    assert "rolling" in one.summary()
    assert "<table>" in one._repr_html_()


def test_saturated_fit_has_no_zero_width() -> None:
    frame = pl.DataFrame({"n_params": [1e6, 1e7, 1e8], "loss": [4.0, 3.5, 3.2]})
    predicted = astraios.fit(frame, law="power_offset").predict([1e9])
    assert predicted["high"][0] - predicted["low"][0] > 0.01


def test_pandas_and_other_column_names(tiny: pl.DataFrame) -> None:
    renamed = tiny.rename({"n_params": "size", "loss": "nll"}).to_pandas()
    a = astraios.fit(renamed, n="size", loss="nll", group="method_id").predict([1e6])
    assert a.equals(astraios.fit(tiny, group="method_id").predict([1e6]))
    with pytest.raises(DataError, match="no column 'tokens'"):
        astraios.fit(tiny, d="tokens")
    with pytest.raises(UsageError, match="no series"):
        astraios.fit(tiny, group="method_id").parameters("nobody")


def test_import_is_light() -> None:
    heavy = ("scipy", "statsmodels", "torch", "duckdb", "altair")
    code = f"import astraios.fit.analysis, sys; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_units_do_not_matter(tiny: pl.DataFrame) -> None:
    scaled = tiny.with_columns(n_params=pl.col("n_params") * 1000)
    a = astraios.fit(tiny, group="method_id").predict([1e6])
    b = astraios.fit(scaled, group="method_id").predict([1e9])
    np.testing.assert_allclose(a["mean"], b["mean"], rtol=1e-7)
