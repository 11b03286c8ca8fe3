"""Ends of decays of the learning rate: several points of size and data from one run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios
from astraios import store
from astraios.errors import DataError
from astraios.fit.decays import decayed_ends
from tests.conftest import assert_one_line, run_cli

SIZES, BATCH, PEAK = (1e7, 3e7, 1e8, 3e8), 1e6, 1e-3
ENDS = (400, 1200, 3600, 9600)
"""Steps at which a decay ends; each takes the last tenth before it, and the rate warms up again after it."""


def law(n: float, d: float) -> float:
    return float(1.8 + 480 * n**-0.35 + 2100 * d**-0.37)


def schedule(step: np.ndarray) -> np.ndarray:
    """A warm-up-stable-decay rate that decays and recovers before each end."""
    rate = PEAK * np.minimum(step / 50, 1.0)
    for end in ENDS:
        rate = np.where(step > 0.9 * end, np.where(step <= end, PEAK * (end - step) / (0.1 * end), rate), rate)
        rate = np.where((step > end) & (step < end + 40), PEAK * (step - end) / 40, rate)
    return np.maximum(rate, 0.0)


def curve(n: float, name: str, every: int = 40) -> pl.DataFrame:
    """A run whose loss lies 5 % above the law's while the rate is high."""
    step = np.arange(every, ENDS[-1] + 1, every)
    rate = schedule(step)
    loss = [law(n, s * BATCH) * (1 + 0.05 * r / PEAK) for s, r in zip(step, rate, strict=True)]
    return pl.DataFrame(
        {"run_id": name, "n_params": n, "step": step, "n_tokens": step * BATCH, "learning_rate": rate, "loss": loss}
    )


@pytest.fixture(scope="module")
def runs() -> pl.DataFrame:
    return pl.concat([curve(n, f"run-{k}") for k, n in enumerate(SIZES)])


def test_one_run_gives_a_point_a_decay(runs: pl.DataFrame) -> None:
    points, notes = decayed_ends(runs)
    assert points["n_tokens"].to_list() == [end * BATCH for end in ENDS] * len(SIZES)
    assert points["loss"].to_numpy() == pytest.approx(
        [law(n, d) for n, d in points.select("n_params", "n_tokens").iter_rows()]
    )
    assert set(points["learning_rate"]) == {PEAK}
    assert [note.code for note in notes] == ["decayed_ends"]
    result = astraios.fit(runs, law="chinchilla", d="n_tokens", decayed_ends=True)
    assert result.predict([1e9], [1e11])["mean"][0] == pytest.approx(law(1e9, 1e11), rel=0.005)
    assert "decayed_ends" in {note.code for note in result.warnings}


def test_what_has_not_decayed_is_no_point() -> None:
    step = np.arange(10, 1001, 10)
    whole = {"n_params": 1e7, "n_tokens": step * BATCH, "step": step, "loss": 3.0}
    cosine = pl.DataFrame(
        {**whole, "run_id": "cosine", "learning_rate": PEAK * 0.5 * (1 + np.cos(np.pi * step / 1000))}
    )
    constant = pl.DataFrame({**whole, "run_id": "constant", "learning_rate": PEAK})
    unseen = cosine.with_columns(run_id=pl.lit("unseen")).filter(pl.col("step") < 700)
    points, notes = decayed_ends(pl.concat([one.select(cosine.columns) for one in (cosine, constant, unseen)]))
    assert points.select("run_id", "n_tokens").rows() == [("cosine", 1000 * BATCH)]
    assert "never decays: constant, unseen" in notes[1].message
    with pytest.raises(DataError, match="no learning rate decays"):
        decayed_ends(constant)
    with pytest.raises(DataError, match="no column 'learning_rate'"):
        decayed_ends(constant.drop("learning_rate"))


def test_rates_may_stand_in_other_rows_than_losses() -> None:
    whole = curve(1e7, "a", 20)
    losses = whole.filter(pl.col("step") % 200 == 0).with_columns(learning_rate=pl.lit(None, pl.Float64))
    rates = whole.with_columns(loss=pl.lit(None, pl.Float64))
    points, _ = decayed_ends(pl.concat([losses, rates]))
    assert points["n_tokens"].to_list() == [end * BATCH for end in ENDS]
    sparse, notes = decayed_ends(pl.concat([losses.filter(pl.col("step") != 400), rates]))
    assert sparse.height == 3
    assert "1 decays without a loss at their end" in notes[1].message


def test_the_commands_take_them_from_a_file_and_from_a_database(runs: pl.DataFrame, tmp_path: Path) -> None:
    runs.write_parquet(tmp_path / "curves.parquet")
    options = ("--law", "chinchilla", "--decayed-ends", "--json")
    data = ("--data", tmp_path / "curves.parquet")
    [planned] = json.loads(run_cli("plan", "--flops", "1e21", *data, *options).stdout)
    assert any("16 ends of decays from 4 runs" in line for line in planned["assumed"])
    path = tmp_path / "a.duckdb"
    _write(runs, path)
    fitted = json.loads(run_cli("fit-scaling", "--db", path, "--holdout", "none", *options).stdout)
    assert "decayed_ends" in {note["code"] for note in fitted["warnings"]}
    stored = store.query(path, "select count(*) as n, sum(f.warnings::varchar like '%ends of decays%') as said "
                         "from fit_point join fit f using (fit_id)")  # fmt: skip
    assert stored.row(0) == (16, 16)
    refused = run_cli("fit-scaling", "--db", path, "--decayed-ends", "--definition", "min")
    assert_one_line(refused, 2, "leave --definition min")


def _write(runs: pl.DataFrame, path: Path) -> None:
    last = runs.group_by("run_id", "n_params", maintain_order=True).last()
    frames = {
        "base_model": [{"model_id": f"made/{n:.0f}", "ladder": "made", "n_params": int(n)} for n in last["n_params"]],
        "tuning_method": [{"method_id": "fft", "title": "FFT", "kind": "full"}],
        "run": [
            {
                "run_id": one["run_id"], "origin": "imported", "model_id": f"made/{one['n_params']:.0f}",
                "method_id": "fft", "seed": 0, "n_params": int(one["n_params"]), "n_tokens": int(one["n_tokens"]),
                "learning_rate": PEAK,
            }
            for one in last.iter_rows(named=True)
        ],
        "attempt": [{"run_id": name, "attempt": 1, "state": "done"} for name in last["run_id"]],
        "loss_point": [
            {
                "run_id": one["run_id"], "attempt": 1, "split": "test", "step": one["step"],
                "n_tokens": int(one["n_tokens"]), "loss_nats": one["loss"], "learning_rate": one["learning_rate"],
            }
            for one in runs.iter_rows(named=True)
        ],
    }  # fmt: skip
    store.import_frames(path, {name: pl.DataFrame(rows) for name, rows in frames.items()})
