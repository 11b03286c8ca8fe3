"""A run whose loss is no number stands in the page's tables and does not break its charts."""

from __future__ import annotations

import json
import math

import polars as pl

from astraios.report.page import embed, table_rows


def test_losses_that_are_no_numbers() -> None:
    rows = table_rows(pl.DataFrame({"method": ["lora", "ia3", "fft"], "loss": [math.nan, math.inf, 3.0]}))
    assert rows["rows"] == [["lora", "nan"], ["ia3", "inf"], ["fft", 3.0]]
    assert json.loads(embed({"data": [{"loss": -math.inf, "step": 1}]})) == {"data": [{"loss": None, "step": 1}]}
