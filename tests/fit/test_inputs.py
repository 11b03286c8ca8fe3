"""Laws with further inputs, by name: chosen where they help, and only there."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios
from astraios.errors import UsageError
from astraios.fit.axes import Roles
from astraios.fit.losses import read_losses
from astraios.fit.selection import Selection
from tests.conftest import assert_one_line, run_cli

SIZES, EXPERTS = np.geomspace(1e7, 1e9, 5), (1, 4, 16, 64)


def _routed(worth: float) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"n_params": n, "experts": e,
         "loss": float(np.exp(2.2 - 0.07 * np.log(n) - worth * np.log(e) + 0.003 * rng.standard_normal()))}
        for n in SIZES for e in EXPERTS
    ]  # fmt: skip
    return pl.DataFrame(rows)


def test_experts_are_an_input() -> None:
    result = astraios.fit(_routed(0.04), inputs={"n_experts": "experts"})
    assert result.weights["routed"] > 0.9
    truth = np.exp(2.2 - 0.07 * np.log(4e9) - 0.04 * np.log([4, 64]))
    found = result.predict([4e9, 4e9], n_experts=[4, 64])
    assert found["mean"].to_numpy() == pytest.approx(truth, rel=0.01)
    with pytest.raises(UsageError, match="give it to predict"):
        result.predict([4e9])
    with pytest.raises(UsageError, match="no law takes an input 'n_expert'"):
        astraios.fit(_routed(0.04), inputs={"n_expert": "experts"})


def test_an_input_that_does_not_help_is_not_relied_on() -> None:
    frame = _routed(0.0)
    result = astraios.fit(frame, inputs={"n_experts": "experts"})
    found = result.predict([1e9, 1e9], n_experts=[1, 64])["mean"]
    assert abs(np.log(found[1] / found[0])) < 0.01


def test_bits_of_the_weights_make_a_smaller_model() -> None:
    rows = [
        {"n_params": n, "bits": b, "loss": 1.7 + 40 * (n * (1 - np.exp(-b / 3.0))) ** -0.2}
        for n in SIZES for b in (3, 4, 8, 16)
    ]  # fmt: skip
    result = astraios.fit(pl.DataFrame(rows), law="precision", inputs={"bits": "bits"}, estimator="huber_1e-3")
    assert result.params["gamma"] == pytest.approx(3.0, rel=0.05)
    assert "no_base_noise" in [w.code for w in result.warnings]
    assert "no_base_noise" not in [w.code for w in astraios.fit(pl.DataFrame(rows[3::4])).warnings]


def test_runs_that_do_not_say_a_named_input_are_told() -> None:
    rows = pl.DataFrame({"run_id": ["a", "b"], "n_params": [1e7, 1e8], "bits": [4.0, None], "loss": [3.0, 2.5]})
    with pytest.raises(UsageError, match="1 of 2 runs do not say their bits"):
        read_losses(Selection(rows, series=()), Roles(), inputs=[("bits", "bits")])


def test_shares_of_domains_may_be_nothing() -> None:
    rows = [
        {"n_params": n, "web": r, "loss": 1.5 + 30 * n**-0.2 * np.exp(-0.8 * r)}
        for n in SIZES for r in (0.0, 0.25, 0.5, 1.0)
    ]  # fmt: skip
    result = astraios.fit(pl.DataFrame(rows), law="mixing", inputs={"share": "web"}, estimator="huber_1e-3")
    assert result.params["t"] == pytest.approx(-0.8, rel=0.05)
    assert result.predict([1e9], share=[0.0])["mean"][0] == pytest.approx(1.5 + 30 * 1e9**-0.2, rel=0.01)


def test_the_command_takes_inputs_by_name(tmp_path: Path) -> None:
    _routed(0.04).write_csv(tmp_path / "moe.csv")
    options = ("fit-scaling", "--data", tmp_path / "moe.csv", "--input", "n_experts=experts", "--target", "4B")
    few, many = (
        json.loads(run_cli(*options, "--at", f"n_experts={e}", "--json").stdout)["fits"][0]["projections"]
        for e in (4, 64)
    )
    few, many = (next(p for p in one if p["role"] == "target")["mean"] for one in (few, many))
    assert many < few
    assert_one_line(run_cli(*options[:4], "experts"), 2, "write NAME=")
    assert_one_line(run_cli(*options[:4], "n_experts=expert"), 2, "experts")
