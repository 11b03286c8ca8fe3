"""Scores from a database: compute as the way, checkpoints as points, learning rates, chance of a mean, least sizes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from astraios import store
from astraios.fit.analysis import analyse
from astraios.fit.request import FitRequest
from astraios.workflow.composing import compose
from astraios.workflow.selecting import select
from astraios.workflow.tasks import correct_task, forget_task
from tests.conftest import assert_one_line, run_cli

SIZES = (1e7, 3e7, 1e8, 3e8)
METHODS = {"fft": 0.0, "lora": -0.3}
ITEMS = 4000


def share(logit: float) -> float:
    return 0.25 + 0.75 / (1 + np.exp(-logit))


def made(path: Path, rows: list[dict[str, Any]], along: list[dict[str, Any]] | None = None) -> Path:
    """A database of runs with scores, and losses where a row has one.

    Args:
        path: of the database.
        rows: run, method, n_params, score; task, tokens, rate, loss where they are known.
        along: run, step, loss and score along training.
    """
    tasks = {row.get("task", "choose") for row in rows}
    frames: dict[str, list[dict[str, Any]]] = {
        "base_model": [
            {"model_id": f"made/{n:.0f}", "ladder": "made", "n_params": int(n)} for n in {r["n_params"] for r in rows}
        ],
        "tuning_method": [{"method_id": m, "title": m.upper(), "kind": "other"} for m in {r["method"] for r in rows}],
        "task": [
            {"task_id": task, "title": task, "kind": "comprehension", "metric": "acc", "chance": 0.25,
             "higher_is_better": True}
            for task in sorted(tasks)
        ],
        "run": [
            {"run_id": row["run"], "origin": "imported", "model_id": f"made/{row['n_params']:.0f}",
             "method_id": row["method"], "seed": 0, "n_params": int(row["n_params"]), "n_tokens": row.get("tokens"),
             "learning_rate": row.get("rate")}
            for row in rows
        ],
        "attempt": [{"run_id": row["run"], "attempt": 1, "state": "done"} for row in rows],
        "evaluation": [
            {"run_id": row["run"], "attempt": 1, "task_id": row.get("task", "choose"), "n_shot": 0, "n_items": ITEMS}
            for row in rows
        ],
        "score": [
            {"run_id": row["run"], "attempt": 1, "task_id": row.get("task", "choose"), "n_shot": 0, "metric": "acc",
             "value": row["score"], "n": ITEMS}
            for row in rows
        ],
    }  # fmt: skip
    points = [{**row, "step": 1000} for row in rows if "loss" in row]
    if points:
        frames["loss_point"] = [
            {"run_id": row["run"], "attempt": 1, "split": "test", "step": row["step"], "loss_nats": row["loss"]}
            for row in [*points, *(along or ())]
        ]
    if along:
        frames["score_point"] = [
            {"run_id": row["run"], "attempt": 1, "task_id": "choose", "metric": "acc", "step": row["step"],
             "value": row["score"], "n": ITEMS}
            for row in [*points, *along]
        ]  # fmt: skip
    for name in ("run", "evaluation"):
        frames[name] = list({row["run_id"] + row.get("task_id", ""): row for row in frames[name]}.values())
    frames["attempt"] = list({row["run_id"]: row for row in frames["attempt"]}.values())
    store.import_frames(path, {name: pl.DataFrame(part, infer_schema_length=None) for name, part in frames.items()})
    return path


def scored(rng: np.random.Generator, logit: float) -> float:
    return float(rng.binomial(ITEMS, share(logit)) / ITEMS)


@pytest.fixture(scope="module")
def by_compute(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods whose scores follow compute: four sizes by three amounts of data, no losses."""
    rng = np.random.default_rng(0)
    rows = [
        {"run": f"{method}-{n:.0f}-{d:.0f}", "method": method, "n_params": n, "tokens": d,
         "score": scored(rng, of_compute(method, n, d))}
        for method in METHODS for n in SIZES for d in (3e8, 3e9, 3e10)
    ]  # fmt: skip
    return made(tmp_path_factory.mktemp("compute") / "a.duckdb", rows)


def of_compute(method: str, n: float, d: float) -> float:
    return METHODS[method] + 0.35 * float(np.log(6 * n * d / 1e17))


@pytest.mark.promise("a score is predicted through what is named")
def test_compute_is_a_way_where_data_vary(by_compute: Path) -> None:
    """At twice the largest size, with less data and with more: size alone can't tell the two apart."""
    for name, tokens in (("1B", 1e9), ("60B", 6e10)):
        options = ("--through", "compute", "--target", "600M", "--target-tokens", name)
        result = run_cli("fit-scaling", "--db", by_compute, *options, "--holdout", "none", "--json")
        assert result.returncode == 0, result.stderr
        found = {
            fit["group"]: p for fit in json.loads(result.stdout)["fits"] for p in fit["projections"]
            if p["role"] == "target" and fit["task_id"] == "choose"
        }  # fmt: skip
        for method in METHODS:
            truth = share(of_compute(method, 6e8, tokens))
            assert found[method]["mean"] == pytest.approx(truth, abs=0.02)
            assert found[method]["new_low"] < truth < found[method]["new_high"]
    refused = run_cli("fit-scaling", "--db", by_compute, "--through", "computer", "--holdout", "none")
    assert_one_line(refused, 2, "did you mean 'compute'")


def test_compute_is_no_way_where_data_go_with_the_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"run": f"{m}-{n:.0f}", "method": m, "n_params": n, "tokens": 20 * n,
         "score": scored(rng, of_compute(m, n, 20 * n))}
        for m in METHODS for n in SIZES
    ]  # fmt: skip
    refused = run_cli("fit-scaling", "--db", made(tmp_path / "a.duckdb", rows), "--through", "compute")
    assert_one_line(refused, 2, "choose has no such way to its acc")


def loss_of(n: float, left: float) -> float:
    """A loss at a share of the training that is left."""
    return 1.7 + 1.9 * (n / 1e7) ** -0.22 + 0.8 * left


@pytest.mark.promise("scores of checkpoints are points of the link")
def test_checkpoints_in_a_database_are_points_of_the_link(tmp_path: Path) -> None:
    """Four sizes with four checkpoints each; the target's score is that of its projected loss."""
    rng = np.random.default_rng(1)

    def at(method: str, n: float, left: float) -> dict[str, float]:
        loss = loss_of(n, left) + 0.05 * METHODS[method]
        return {"loss": loss, "score": scored(rng, -3.2 * (loss - 2.3))}

    finals = [{"run": f"{m}-{n:.0f}", "method": m, "n_params": n, **at(m, n, 0)} for m in METHODS for n in SIZES]
    along = [
        {"run": row["run"], "step": 1000 - round(800 * left), **at(row["method"], row["n_params"], left)}
        for row in finals for left in (1.0, 0.6, 0.3, 0.1)
    ]  # fmt: skip
    db, request = made(tmp_path / "a.duckdb", finals, along), FitRequest(targets=(1e9,))
    chosen = select(db, request)
    assert chosen.along is not None
    assert chosen.along.height == len(along), "the last step is the final score itself"
    assert set(chosen.along["step"]) == {200, 520, 760, 920}
    whole = analyse(chosen, request)
    parts = {part.role: part.scores[0] for part in whole.parts}  # type: ignore[attr-defined]
    assert len(parts["target"].model.data) == len(finals) + len(along)
    assert len(parts["backtest"].model.data) == (len(finals) + len(along)) * 3 // 4, "those of hidden runs are hidden"
    for p in whole.of("target", "score"):
        truth = share(-3.2 * (loss_of(1e9, 0) + 0.05 * METHODS[p.method_id] - 2.3))
        assert p.mean == pytest.approx(truth, abs=0.03)
        assert p.new_low < truth < p.new_high


@pytest.fixture
def of_rates(tmp_path: Path) -> Path:
    """Scores at two learning rates, one of them bad, of runs without losses; fft has one rate."""
    rng = np.random.default_rng(2)
    rates = {"fft": (1e-4,), "lora": (1e-3, 1e-5)}
    rows = [
        {"run": f"{m}-{n:.0f}-{rate}", "method": m, "n_params": n, "rate": rate, "task": task,
         "score": scored(rng, 0.4 * np.log(n / 1e8) - 2.5 * (rate == 1e-5))}
        for m in METHODS for n in SIZES for rate in rates[m] for task in ("choose", "other")
    ]  # fmt: skip
    return made(tmp_path / "a.duckdb", rows)


@pytest.mark.promise("nothing is averaged in silence")
def test_learning_rates_that_no_loss_ranks_are_series_of_their_own(of_rates: Path) -> None:
    expected = ["fft", "lora lr=0.001", "lora lr=1e-05"]
    for sql in ("select distinct series from final_score order by all",
                "select distinct series from run_series order by all"):  # fmt: skip
        assert store.query(of_rates, sql)["series"].to_list() == expected
    chosen = select(of_rates, FitRequest())
    assert chosen.scores is not None
    assert chosen.rates_apart
    found = analyse(chosen, FitRequest(targets=(1e9,)))
    assert "rates_apart" in [w.code for w in found.warnings]
    means = {p.method_id: p.mean for p in found.of("target") if p.task_id == "choose"}
    assert set(means) == set(expected)
    assert means["lora lr=0.001"] == pytest.approx(share(0.4 * np.log(10)), abs=0.06)
    assert means["lora lr=1e-05"] == pytest.approx(share(0.4 * np.log(10) - 2.5), abs=0.06)


def test_a_loss_ranks_learning_rates(of_rates: Path) -> None:
    """Where runs have losses the better rate stands for the method, as before."""
    with store.writing(of_rates) as connection:
        connection.execute(
            "insert into loss_summary by name select run_id, 1 as attempt, 'test' as split, 1 as n_points, "
            "10 as last_step, learning_rate as last_loss, learning_rate as min_loss, learning_rate as mean_last5_loss "
            "from run"
        )
    assert store.query(of_rates, "select distinct series from run_series order by all")["series"].to_list() == [
        "fft", "lora"
    ]  # fmt: skip
    assert not store.query(of_rates, "select 1 from run_series where is_rate_apart").height


def test_the_chance_of_a_mean_is_that_of_its_tasks(of_rates: Path) -> None:
    """Known where all are; else the mean says that nobody knows, and how to say it."""
    compose(of_rates, "ours", ["choose", "other=3"])
    for task, chance in (("choose", 0.25), ("other", 0.125)):
        correct_task(of_rates, task, chance=chance)
    request = FitRequest(targets=(1e9,), holdout=None)
    chosen = select(of_rates, request)
    assert chosen.scores is not None
    rows = chosen.scores.filter(task_id="mean")
    assert rows["chance"].unique().to_list() == [pytest.approx((0.25 + 3 * 0.125) / 4)]
    assert rows["ceiling"].unique().to_list() == [1.0]
    assert "chance_unknown" not in [w.code for w in analyse(chosen, request).warnings]
    forget_task(of_rates, "other")
    with store.writing(of_rates) as connection:
        connection.execute("update task set chance = null where task_id = 'other'")
    chosen = select(of_rates, request)
    assert chosen.scores is not None
    assert chosen.scores.filter(task_id="mean")["chance"].to_list() == [None] * 12
    notes = {w.group: w.message for w in analyse(chosen, request).warnings if w.code == "chance_unknown"}
    assert set(notes) == {"other", "mean"}
    assert "that of each of its tasks" in notes["mean"]


@pytest.mark.promise("a plan for a score needs no losses")
def test_the_least_size_for_a_score_from_scores_alone(by_compute: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def logit(method: str, n: float) -> float:
        return METHODS[method] + 0.45 * float(np.log(n / 1e8))

    rows = [
        {"run": f"{m}-{n:.0f}", "method": m, "n_params": n, "tokens": 20 * n, "score": scored(rng, logit(m, n))}
        for m in METHODS for n in SIZES
    ]  # fmt: skip
    db = made(tmp_path / "a.duckdb", rows)
    result = run_cli("plan", "--db", db, "--score", "choose=0.7", "--json")
    assert result.returncode == 0, result.stderr
    found = {row["series"]: row for row in json.loads(result.stdout)}
    goal = float(np.log(0.45 / 0.3))
    for method, row in found.items():
        truth = 1e8 * float(np.exp((goal - METHODS[method]) / 0.45))
        assert row["n_params_low"] < truth < (row["n_params_high"] or np.inf)
        assert row["n_params"] == pytest.approx(truth, rel=0.5)
        assert row["n_tokens"] == pytest.approx(20 * row["n_params"])
        assert row["flops"] == pytest.approx(120 * row["n_params"] ** 2)
        assert (row["task"], row["score"], row["loss"]) == ("choose", 0.7, None)
        assert any("no losses" in line for line in row["assumed"])
    assert found["fft"]["n_params"] < found["lora"]["n_params"]
    assert store.query(db, "select count(*) from allocation where asked = 'score choose=0.7'").item() == 2
    shown = run_cli("plan", "--db", db, "--score", "choose=0.7", "--series", "fft")
    assert shown.returncode == 0, shown.stderr
    assert "20 tokens a parameter, as in the runs" in shown.stderr
    within = json.loads(run_cli("plan", "--db", db, "--score", "choose=0.5", "--series", "fft", "--json").stdout)
    truth = 1e8 * np.exp(np.log(0.25 / 0.5) / 0.45)
    assert within[0]["n_params"] == pytest.approx(truth, rel=0.2)
    assert 0.3 * truth < within[0]["n_params_low"] < truth < within[0]["n_params_high"] < 3 * truth
    assert_one_line(run_cli("plan", "--db", db, "--score", "chose=0.7"), 2, "did you mean 'choose'")
    assert_one_line(run_cli("plan", "--db", db, "--score", "choose=0.7", "--series", "ia3"), 2, "there are fft, lora")
    assert_one_line(run_cli("plan", "--db", db, "--flops", "1e20"), 1, "needs losses, but for --score")
    held = run_cli("plan", "--db", db, "--score", "choose=0.7", "--tokens-per-param", 100)
    assert_one_line(held, 1, "every run was trained at 20 tokens a parameter")
    alone = json.loads(run_cli("plan", "--db", by_compute, "--score", "choose=0.7", "--json").stdout)
    assert {(row["flops"], row["n_tokens"]) for row in alone} == {(None, None)}, "data vary: size alone is said"


def test_a_score_that_is_never_reached(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    rows = [
        {"run": f"{m}-{n:.0f}", "method": m, "n_params": n, "score": scored(rng, -2.5)} for m in METHODS for n in SIZES
    ]
    db = made(tmp_path / "a.duckdb", rows)
    rows = json.loads(run_cli("plan", "--db", db, "--score", "choose=0.9", "--json").stdout)
    assert {(row["n_params"], row["flops"]) for row in rows} == {(None, None)}
    assert all(row["p_unreachable"] > 0.5 and row["floor"] < 0.9 for row in rows)
    assert "not reachable" in run_cli("plan", "--db", db, "--score", "choose=0.9").stderr
