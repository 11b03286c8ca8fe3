"""The projection as a curve over size: kept with the fit, equal to the projection at its end."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from astraios import store
from tests.conftest import run_cli

SIZES = (1e7, 3e7, 1e8, 3e8, 1e9)


def database(folder: Path, tokens: tuple[float, ...] = (1e9,)) -> Path:
    rows = [
        {"run_id": f"{method}-{i}-{j}", "method": method, "model": f"m{i}", "n_params": n, "dataset": "pairs",
         "n_tokens": d, "test_loss": 1.7 + floor + 90 * n**-0.3 + (400 * d**-0.3 if len(tokens) > 1 else 0)}
        for method, floor in (("lora", 0.0), ("fft", 0.2))
        for i, n in enumerate(SIZES)
        for j, d in enumerate(tokens)
    ]  # fmt: skip
    pl.DataFrame(rows).write_csv(folder / "runs.csv")
    assert run_cli("import", folder / "runs.csv", "--db", folder / "a.duckdb").returncode == 0
    return folder / "a.duckdb"


def test_the_curve_ends_in_the_projection(tmp_path: Path) -> None:
    db = database(tmp_path)
    done = run_cli("fit-scaling", "--db", db, "--target", "3B", "--target", "10B")
    assert done.returncode == 0, done.stderr
    curve = store.query(db, "from latest_curve order by method_id, n_params")
    assert curve["method_id"].unique().sort().to_list() == ["fft", "lora"]
    for (method,), part in curve.group_by("method_id"):
        assert (part["n_params"][0], part["n_params"][-1]) == pytest.approx((1e7, 1e10))
        [row] = store.query(
            db,
            "select mean, low, high, new_low, new_high from latest_projection "
            f"where role = 'target' and quantity = 'loss' and n_params = 1e10 and method_id = '{method}'",
        ).rows()
        assert part.select("mean", "low", "high", "new_low", "new_high").row(-1) == pytest.approx(row)
        assert (part["new_low"] <= part["low"]).all()
        assert (part["high"] <= part["new_high"]).all()
        assert part["mean"].is_sorted(descending=True)
    assert store.failed_checks(db) == {}


def test_a_later_fit_takes_the_place_of_a_curve(tmp_path: Path) -> None:
    db = database(tmp_path)
    for target in ("10B", "5B"):
        assert run_cli("fit-scaling", "--db", db, "--target", target).returncode == 0
    assert store.query(db, "select max(n_params) as n from latest_curve")["n"][0] == pytest.approx(5e9)


def test_where_data_vary_too_there_is_a_curve_at_each_amount(tmp_path: Path) -> None:
    db = database(tmp_path, tokens=(1e9, 1e10, 1e11))
    assert run_cli("fit-scaling", "--db", db, "--target", "10B", "--target-tokens", "1e11").returncode == 0
    amounts = store.query(db, "select distinct n_tokens from latest_curve order by all")["n_tokens"].to_list()
    assert amounts == [1e9, 1e10, 1e11]
    at = "select mean from latest_curve where n_tokens = {} order by n_params limit 1"
    few, many = (store.query(db, at.format(n))["mean"][0] for n in ("1e9", "1e11"))
    assert many < few
    drawn = run_cli("report", "--figure", "projection-loss", "--db", db, "-o", tmp_path / "p.svg")
    assert drawn.returncode == 0, drawn.stderr
