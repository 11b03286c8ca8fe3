"""What fit-scaling stores for drawing, and the charts that read it: lines of data, residuals, reducible loss, gaps."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import astraios
from astraios import store
from astraios.fit.decide.ranking import chances
from astraios.report.base import find_figure
from astraios.report.draw import Drawn, draw
from astraios.report.page import render_page
from astraios.report.study import choose
from astraios.workflow.curves import amounts
from tests.conftest import assert_one_line, run_cli

SIZES, TOKENS = (10**7, 3 * 10**7, 10**8, 3 * 10**8), (3 * 10**8, 10**9, 3 * 10**9, 10**10)
FLOOR = {"fft": 1.8, "lora": 1.9}


def loss_of(method: str, n: float, d: float) -> float:
    return FLOOR[method] + 480 * n**-0.35 + 2100 * d**-0.37


def imported(path: Path, runs: list[tuple[str, int, int | None, float]]) -> None:
    """Runs (method, size, tokens, loss) as a database has them."""
    ids = [f"{m}-{n}-{d}" for m, n, d, _ in runs]
    frames = {
        "base_model": [{"model_id": f"made/{n}", "ladder": "made", "n_params": n} for n in SIZES],
        "tuning_method": [{"method_id": m, "title": m.upper(), "kind": "other"} for m in FLOOR],
        "run": [
            {"run_id": i, "origin": "imported", "model_id": f"made/{n}", "method_id": m, "seed": 0, "n_params": n,
             "n_tokens": d}
            for i, (m, n, d, _) in zip(ids, runs, strict=True)
        ],
        "attempt": [{"run_id": i, "attempt": 1, "state": "done"} for i in ids],
        "loss_point": [
            {"run_id": i, "attempt": 1, "split": "test", "step": 10, "loss_nats": loss}
            for i, (*_, loss) in zip(ids, runs, strict=True)
        ],
    }  # fmt: skip
    store.import_frames(path, {name: pl.DataFrame(rows) for name, rows in frames.items()})


@pytest.fixture(scope="module")
def sized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A law with a floor over size alone, without noise; nobody says how much data the runs saw."""
    path = tmp_path_factory.mktemp("sized") / "a.duckdb"
    imported(path, [(m, n, None, loss_of(m, n, 1e10)) for m in FLOOR for n in SIZES])
    result = run_cli("fit-scaling", "--db", path, "--law", "power_offset", "--target", "1B", "--json")
    assert result.returncode == 0, result.stderr
    (path.parent / "fit.json").write_text(result.stdout)
    return path


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes by amounts of data, without noise, projected beyond both."""
    path = tmp_path_factory.mktemp("tokens") / "a.duckdb"
    imported(path, [(m, n, d, loss_of(m, n, d)) for m in FLOOR for n in SIZES for d in TOKENS])
    options = ("--law", "chinchilla", "--target", "1B", "--target-tokens", "30B")
    assert run_cli("fit-scaling", "--db", path, *options).returncode == 0
    return path


def drawn(db: Path, name: str) -> Drawn:
    def query(sql: str) -> pl.DataFrame:
        return store.query(db, sql)

    return draw(find_figure(name), query, choose(query))


def test_lines_of_data_are_what_the_fit_says_there(tokens: Path) -> None:
    lines = store.query(tokens, "from latest_curve where method_id = 'lora' order by n_tokens, n_params")
    assert lines["n_tokens"].unique().sort().to_list() == pytest.approx([*TOKENS, 3e10])
    assert lines["n_params"].max() == pytest.approx(1e9)
    again = astraios.load_fit(lines["fit_id"][0], tokens).predict(lines["n_params"].to_list(), lines["n_tokens"])
    for name in ("mean", "low", "high", "new_low", "new_high"):
        assert lines[name].to_list() == pytest.approx(again[name].to_list(), rel=1e-6), name
    right = [loss_of("lora", n, d) for n, d in lines.select("n_params", "n_tokens").rows()]
    assert lines["mean"].to_list() == pytest.approx(right, rel=0.02)
    last = lines.filter(pl.col("n_tokens") > 2e10)[-1]
    target = store.query(tokens, "from latest_projection where role = 'target' and method_id = 'lora'")
    assert last["p_best"].to_list() == pytest.approx(target["p_best"].to_list(), abs=1e-9)
    assert last["mean"].to_list() == pytest.approx(target["mean"].to_list())


def test_the_law_is_drawn_through_the_points_of_each_amount(tokens: Path) -> None:
    frame = drawn(tokens, "projection-data").frame
    points = frame.filter(source="measured")
    assert points.height == len(FLOOR) * len(SIZES) * len(TOKENS)
    for method in FLOOR:
        for d in TOKENS:
            line = frame.filter((pl.col("source") == "law") & (pl.col("method") == method.upper())).filter(
                (pl.col("n_tokens") / d - 1).abs() < 0.02
            )
            here = points.filter(method=method.upper(), n_tokens=d)
            on_line = np.interp(np.log(here["n_params"]), np.log(line["n_params"]), line["loss"])
            assert here["loss"].to_list() == pytest.approx(on_line.tolist(), rel=0.01)
    spec = json.dumps(drawn(tokens, "projection-data").spec)
    assert '"domain": ["300M", "1B", "3B", "10B", "30B"]' in spec


def test_amounts_of_many_runs_are_few_and_hold_the_targets() -> None:
    measured = np.log(np.geomspace(1e8, 1e11, 200))
    found = amounts(measured, [float(np.log(3e12))])
    assert len(found) == 7
    assert found[0] == pytest.approx(measured[0])
    assert found[-2:] == pytest.approx([measured[-1], np.log(3e12)])
    assert amounts(np.log([1e9, 1.005e9, 4e9]), [float(np.log(4.01e9))]) == pytest.approx(np.log([1e9, 4.01e9]))


def test_chances_count_the_draws_that_a_series_wins() -> None:
    losses = np.array([[[1.0], [3.0], [2.0], [1.0]], [[2.0], [2.0], [2.0], [5.0]]])
    assert chances(losses).tolist() == [[0.625], [0.375]]


def test_a_curve_over_size_knows_who_is_best_along_it(sized: Path) -> None:
    curve = store.query(sized, "from latest_curve order by method_id, n_params")
    assert curve["n_tokens"].null_count() == curve.height
    for (_,), here in curve.group_by(["n_params"]):
        assert here["p_best"].sum() == pytest.approx(1)
    at_target = curve.filter(pl.col("n_params") > 0.999e9).sort("method_id")
    target = store.query(sized, "from latest_projection where role = 'target' order by method_id")
    assert at_target["p_best"].to_list() == pytest.approx(target["p_best"].to_list(), abs=1e-9)


def test_residuals_are_observations_over_what_the_law_says(sized: Path) -> None:
    frame = drawn(sized, "residuals").frame
    assert frame.height == len(FLOOR) * len(SIZES)
    stored = store.query(sized, "select observed, fitted from fit_point join fit using (fit_id) where role = 'target'")
    assert sorted(frame["residual"]) == pytest.approx(sorted(stored["observed"] / stored["fitted"] - 1))
    assert frame["residual"].abs().max() < 0.002, "the runs have no noise"


def test_reducible_loss_is_what_is_above_the_fitted_floor(sized: Path, tmp_path: Path) -> None:
    found = drawn(sized, "projection-reducible")
    floors = dict(store.query(sized, "select method_id, value from fit_parameter join fit using (fit_id) "
                                     "where role = 'target' and name = 'E'").rows())  # fmt: skip
    assert dict(found.frame.select("method_id", "floor").unique().rows()) == pytest.approx(floors)
    assert floors["fft"] == pytest.approx(FLOOR["fft"] + 2100 * 1e10**-0.37, abs=0.1)
    rows = next(rows for rows in found.spec["datasets"].values() if len(rows) > 50)  # type: ignore[index]
    shown = {(r["method_id"], r["n_params"]): r["loss"] for r in rows if r["source"] == "measured"}
    for (method, n), loss in shown.items():
        assert loss == pytest.approx(loss_of(method, n, 1e10) - floors[method])
    options = ("report", "--db", sized, "--figure", "projection-loss", "--reducible")
    assert run_cli(*options, "-o", tmp_path / "a.svg").returncode == 0
    assert "test loss above the floor" in (tmp_path / "a.svg").read_text()
    assert_one_line(run_cli("report", "--db", sized, "--figure", "ranking", "--reducible"), 2, "projection-loss")
    assert_one_line(run_cli("report", "--db", sized, "--reducible"), 2, "--figure projection-loss")


def test_what_can_not_be_planned_says_which_series_and_why(sized: Path, tokens: Path) -> None:
    said = json.loads((sized.parent / "fit.json").read_text())["not_planned"]
    assert {(gap["what"], gap["series"]) for gap in said} == {
        ("budgets", "fft"), ("budgets", "lora"), ("next_run", None)
    }  # fmt: skip
    assert all("tokens" in gap["why"] for gap in said)
    assert store.query(sized, "from not_planned").height == len(said)
    page = render_page(lambda sql: store.query(sized, sql))
    assert "No row of budgets for LORA: " in page
    assert store.query(tokens, "from not_planned").is_empty()
    printed = run_cli("fit-scaling", "--db", sized, "--law", "power_offset", "--target", "1B").stderr
    assert "not planned: a row of budgets for fft: " in printed


def test_what_can_be_planned_again_is_no_gap_any_more(tmp_path: Path) -> None:
    db = tmp_path / "a.duckdb"
    imported(db, [(m, n, None, loss_of(m, n, 1e10)) for m in FLOOR for n in SIZES])
    assert run_cli("fit-scaling", "--db", db, "--law", "power_offset").returncode == 0
    assert store.query(db, "from not_planned").height > 0
    with store.writing(db) as connection:
        connection.execute("update run set n_tokens = 10000000000")
    assert run_cli("fit-scaling", "--db", db, "--law", "power_offset").returncode == 0
    assert store.query(db, "from not_planned").is_empty()
    assert store.query(db, "from budget_line").height > 0
