"""Scores along training: where they level off, what they cost, and what another size would do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scipy import stats

from astraios import store
from astraios.errors import FitError
from astraios.fit.decide.saturation import ScoreCurve, of_size, ranked, saturating
from tests.conftest import assert_one_line, run_cli

X = np.arange(0.0, 61.0, 4.0)


def _curve(name: str, ceiling: float, power: float, middle: float, start: float = 0.2) -> ScoreCurve:
    rng = np.random.default_rng(len(name))
    value = start + (ceiling - start) / (1 + (middle / np.maximum(X, 1e-9)) ** power)
    return ScoreCurve(name, X, value + 0.004 * rng.standard_normal(X.size), 1000)


def test_ceilings_efficiencies_and_midpoints_are_found() -> None:
    high, fast = _curve("high", 0.9, 1.5, 15.0), _curve("fast", 0.7, 3.0, 8.0)
    rows = ranked(saturating([fast, high]), 0.6)
    assert [row.name for row in rows] == ["high", "fast"]
    assert rows[0].ceiling.low < 0.9 < rows[0].ceiling.high
    assert rows[1].efficiency.low < 3.0 < rows[1].efficiency.high
    assert rows[1].midpoint.low < 8.0 < rows[1].midpoint.high
    assert rows[0].p_highest > 0.95
    assert rows[0].reach is not None
    assert rows[0].reach.low < 15.0 * ((0.6 - 0.2) / (0.9 - 0.6)) ** (1 / 1.5) < rows[0].reach.high
    [low] = [row for row in ranked(saturating([fast, high]), 0.8) if row.name == "fast"]
    assert low.reach is None


def test_too_short_a_curve_says_so() -> None:
    with pytest.raises(FitError, match="three scores"):
        saturating([replace(_curve("a", 0.9, 2.0, 10.0), x=X[:2])])
    with pytest.raises(FitError, match="two sizes"):
        of_size([replace(_curve("a", 0.9, 2.0, 10.0), log_size=20.0)], 21.0)


@pytest.fixture(scope="module")
def real(shared: Path) -> list[ScoreCurve]:
    table = pl.read_parquet(shared / "data" / "scaling" / "rl_gsm8k_steps.parquet").sort("n_params", "step")
    return [
        ScoreCurve(
            str(name), part["step"].cast(float).to_numpy(), part["accuracy"].to_numpy(), 1319,
            float(np.log(part["n_params"][0])),
        )
        for (name,), part in table.group_by(["model"], maintain_order=True)
    ]  # fmt: skip


def test_the_last_third_follows_from_the_first_two(real: list[ScoreCurve]) -> None:
    seen = [one.until(2 / 3) for one in real]
    errors, hits = [], []
    for fit, one, early in zip(saturating(seen), real, seen, strict=True):
        k = len(early.x)
        mean, low, high = fit.at(one.x[k:])
        errors.append(float(np.abs(mean - one.value[k:]).mean()))
        hits += [bool(a <= v <= b) for a, v, b in zip(low, one.value[k:], high, strict=True)]
    assert max(errors) <= 0.02
    assert stats.binom.cdf(sum(hits), len(hits), 0.9) > 0.05


def test_another_size_is_better_than_carrying_forward(real: list[ScoreCurve]) -> None:
    ours, carried = [], []
    for i, one in enumerate(real):
        others = [other for other in real if other is not one]
        mean, _, _ = of_size(others, float(one.log_size or 0)).at(one.x)
        ours.append(float(np.abs(mean - one.value).mean()))
        carried.append(float(np.abs(others[max(i - 1, 0)].value - one.value).mean()))
    assert np.mean(ours) < 0.4 * np.mean(carried)


def test_the_command_follows_scores_of_a_file(tmp_path: Path) -> None:
    curves = [_curve("high", 0.9, 1.5, 15.0), _curve("fast", 0.7, 3.0, 8.0)]
    rows = [
        {"recipe": c.name, "step": int(x), "reward": float(v)}
        for c in curves
        for x, v in zip(c.x, c.value, strict=True)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "rl.csv")
    options = ("--data", tmp_path / "rl.csv", "--over", "step", "--loss", "reward", "--group", "recipe")
    found = json.loads(run_cli("fit-scaling", *options, "--reach", "0.6", "--json").stdout)
    assert [row["name"] for row in found] == ["high", "fast"]
    assert found[0]["reach"]["low"] < found[0]["reach"]["value"]
    assert "ceiling" in run_cli("fit-scaling", *options).stdout
    assert_one_line(run_cli("fit-scaling", *options[:3], "steps"), 1, "no column 'steps'")


def test_the_command_projects_a_size_that_was_not_run(tmp_path: Path) -> None:
    rows = [
        {"recipe": "grpo", "n_params": n, "step": int(x), "reward": float(v)}
        for n, ceiling in ((1e9, 0.6), (3e9, 0.7), (9e9, 0.8))
        for x, v in zip(X, _curve("a", ceiling, 1.5, 15.0).value, strict=True)
    ]
    pl.DataFrame(rows).write_csv(tmp_path / "rl.csv")
    options = ("fit-scaling", "--data", tmp_path / "rl.csv", "--over", "step", "--loss", "reward", "--target", "27B")
    grouped = (*options, "--group", "recipe")
    *run, projected = json.loads(run_cli(*grouped, "--json").stdout)
    assert [row["name"] for row in run] == ["grpo 9B", "grpo 3B", "grpo 1B"]
    assert (projected["name"], projected["n_params"]) == ("grpo 27B, not run", 2.7e10)
    assert projected["p_highest"] is None
    low, high = projected["score"]["low"], projected["score"]["high"]
    assert run[0]["score"]["value"] < projected["score"]["value"] < high
    assert low < _curve("a", 0.9, 1.5, 15.0).value[-1] < high
    assert "grpo 27B, not run" in run_cli(*grouped).stdout
    assert_one_line(run_cli(*grouped, "--target", "9B"), 2, "was run at that size")
    assert_one_line(run_cli(*options, "--n", "size"), 1, "no column 'size'")
    assert_one_line(run_cli(*options[:7], "--n", "size"), 1, "3 scores of curve 'all' at step")


def test_a_database_has_a_curve_a_run_and_sizes_that_were_not_run(tmp_path: Path) -> None:
    sizes = {1e9: 0.6, 3e9: 0.7, 9e9: 0.8}
    runs = {f"grpo-{n:.0e}": n for n in sizes}
    frames = {
        "base_model": [{"model_id": f"made/{n:.0f}", "ladder": "made", "n_params": int(n)} for n in sizes],
        "tuning_method": [{"method_id": "grpo", "title": "GRPO", "kind": "other"}],
        "task": [
            {"task_id": "gsm8k", "title": "GSM8K", "kind": "other", "metric": "accuracy", "higher_is_better": True}
        ],
        "run": [
            {
                "run_id": name, "origin": "imported", "model_id": f"made/{n:.0f}", "method_id": "grpo", "seed": 0,
                "n_params": int(n),
            }
            for name, n in runs.items()
        ],
        "attempt": [{"run_id": name, "attempt": 1, "state": "done"} for name in runs],
        "loss_point": [{"run_id": r, "attempt": 1, "split": "test", "step": 60, "loss_nats": 2.0} for r in runs],
        "score_point": [
            {
                "run_id": name, "attempt": 1, "task_id": "gsm8k", "metric": "accuracy", "step": int(x),
                "n_tokens": int(x) * 1000, "value": float(v), "n": 1000,
            }
            for name, n in runs.items()
            for x, v in zip(X, _curve("a", sizes[n], 1.5, 15.0).value, strict=True)
        ],
    }  # fmt: skip
    db = tmp_path / "a.duckdb"
    store.import_frames(db, {name: pl.DataFrame(rows) for name, rows in frames.items()})
    found = json.loads(run_cli("fit-scaling", "--db", db, "--over", "tokens", "--target", "27B", "--json").stdout)
    assert [row["name"] for row in found] == ["grpo-9e+09", "grpo-3e+09", "grpo-1e+09", "grpo 27B, not run"]
    assert {row["at"] for row in found} == {60_000.0}
    assert found[-1]["score"]["low"] < 0.9 < found[-1]["score"]["high"] + 0.1
    assert_one_line(run_cli("fit-scaling", "--db", db, "--over", "token"), 2, "tokens")
