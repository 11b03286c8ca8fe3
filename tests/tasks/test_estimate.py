"""pass@k against exact rationals; intervals against simulated data; paired comparisons."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from astraios import store
from astraios.errors import DataError
from astraios.evaluate.compare import compare, mcnemar
from astraios.evaluate.tasks._estimate import (
    bootstrap,
    cluster_stderr,
    pass_at_k,
    pass_scores,
    share,
    share_interval,
)
from astraios.records import AttemptRow, EvaluationRow, RunRow, SampleScore, frame
from tests.conftest import run_cli


@pytest.mark.promise("intervals of scores cover")
def test_pass_at_k_agrees_with_exact_rationals() -> None:
    worst = 0.0
    for n in (1, 2, 5, 10, 20, 100, 200):
        for k in {1, 2, n // 2 or 1, n}:
            if k > n:
                continue
            for c in range(n + 1):
                exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
                worst = max(worst, abs(pass_at_k(n, c, k) - float(exact)))
    assert worst < 1e-15
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(5, 6, 1)
    with pytest.raises(ValueError, match="pass@k needs"):
        pass_at_k(5, 1, 6)


def coverage(draw, truth: float, rounds: int = 400) -> float:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(rounds):
        values, clusters = draw(rng)
        score = share("t", "m", values, clusters=clusters)
        assert score.ci_low is not None
        assert score.ci_high is not None
        hits += score.ci_low <= truth <= score.ci_high
    return hits / rounds


@pytest.mark.promise("intervals of scores cover")
@pytest.mark.parametrize("a", [0.05, 0.3, 2.0])
def test_interval_of_pass_at_1_covers(a: float) -> None:
    """164 problems of unequal difficulty, 20 samples each: samples of one problem are no independent evidence."""
    b = 4 * a

    def draw(rng: np.random.Generator) -> tuple[list[float], None]:
        return list(rng.binomial(20, rng.beta(a, b, 164)) / 20), None

    assert 0.92 <= coverage(draw, a / (a + b)) <= 0.985


@pytest.mark.promise("intervals of scores cover")
def test_clustered_interval_covers_and_the_naive_one_does_not() -> None:
    """Variants of one problem share its difficulty (ReCode)."""

    def clustered(rng: np.random.Generator) -> tuple[list[float], list[int]]:
        p = np.repeat(rng.beta(0.4, 0.8, 164), 10)
        return list(rng.random(1640) < p), list(np.repeat(np.arange(164), 10))

    assert 0.92 <= coverage(clustered, 1 / 3) <= 0.985
    assert coverage(lambda rng: (clustered(rng)[0], None), 1 / 3) < 0.75


def test_interval_is_wilsons_for_yes_and_no() -> None:
    values = [1.0] * 30 + [0.0] * 70
    low, high = share_interval(0.3, math.sqrt(0.3 * 0.7 / 100), 100)
    assert (low, high) == pytest.approx((0.2189, 0.3958), abs=1e-4)
    assert cluster_stderr(values) == pytest.approx(np.std(values, ddof=1) / 10)
    assert share_interval(0.0, 0.0, 164)[1] == pytest.approx(0.0229, abs=1e-3)
    assert cluster_stderr([1.0]) is None


def test_resampling_samples_within_a_task_is_not_what_bootstrap_does() -> None:
    rows = np.array([[0.0], [1.0], [1.0], [0.0]])
    stderr, low, high = bootstrap(rows, lambda r: float(r.mean()))
    assert stderr == pytest.approx(0.25, abs=0.01)
    assert low <= 0.5 <= high


def test_pass_scores_name_what_there_is() -> None:
    scores = pass_scores("t", [[True] * 5 + [False] * 15, [False] * 20])
    assert [score.metric for score in scores] == ["pass@1", "pass@10"]
    assert scores[0].value == pytest.approx(0.125)
    assert scores[1].value == pytest.approx((1 - math.comb(15, 10) / math.comb(20, 10)) / 2)


def results(values: list[float], task: str = "devign") -> list[SampleScore]:
    return [SampleScore(task, str(i), 0, value, "") for i, value in enumerate(values)]


def test_mcnemar_is_the_exact_binomial_test() -> None:
    from scipy.stats import binomtest

    for only_a, only_b in ((0, 0), (3, 3), (1, 9), (30, 12), (0, 5), (900, 1000)):
        n = only_a + only_b
        expected = binomtest(only_a, n, 0.5).pvalue if n else 1.0
        assert mcnemar(only_a, only_b) == pytest.approx(expected, rel=1e-9)


def test_comparison_says_whether_two_runs_differ() -> None:
    rng = np.random.default_rng(0)
    a = (rng.random(500) < 0.5).astype(float)
    b = np.where(rng.random(500) < 0.25, 1.0, a)
    found = compare(results(list(a)), results(list(b)))
    assert found.differ
    assert found.test == "exact McNemar"
    assert "B is better than A on devign" in found.words()
    same = compare(results(list(a)), results(list(a[::-1])))
    assert not same.differ
    assert "can't be told apart" in same.words()
    assert same.low <= 0 <= same.high


def test_paired_interval_covers() -> None:
    rng, hits = np.random.default_rng(3), 0
    for _ in range(150):
        p = rng.beta(0.5, 1.0, 100)
        a, b = rng.binomial(20, p) / 20, rng.binomial(20, np.minimum(1, p + 0.05 * (p < 0.9))) / 20
        truth = np.mean(0.05 * (rng.beta(0.5, 1.0, 200_000) < 0.9))
        found = compare(results(list(a)), results(list(b)), draws=600)
        hits += found.low <= truth <= found.high
    assert hits / 150 >= 0.9


def test_comparison_needs_the_same_problems() -> None:
    with pytest.raises(DataError, match="different problems: 1 are in one only"):
        compare(results([1.0, 0.0]), results([1.0]))
    with pytest.raises(DataError, match="two runs on one task"):
        compare(results([1.0]), results([1.0], "aatk"))


@pytest.mark.parametrize("n_shot", [0, 5])
def test_the_command_resamples_variants_of_a_problem_together(tmp_path: Path, n_shot: int) -> None:
    """Two runs on ReCode that differ on a few problems, whatever the perturbation: not one item in ten is evidence."""
    items = [f"natgen/{seed}/HumanEval/{problem}" for seed in range(10) for problem in range(20)]
    outcome = {
        "lora": [float(int(item.rsplit("/")[-1]) % 2) for item in items],
        "fft": [float(int(item.rsplit("/")[-1]) in (0, 2, 4) or int(item.rsplit("/")[-1]) % 2) for item in items],
    }
    database = tmp_path / "a.duckdb"
    for method, values in outcome.items():
        run = RunRow(run_id=method, origin="imported", model_id="m", method_id=method, n_params=1)
        samples = [
            SampleScore("recode-syntax", item, 0, value, "passed" if value else "failed", n_shot=n_shot)
            for item, value in zip(items, values, strict=True)
        ]
        frames = {
            "run": frame([run]),
            "attempt": frame([AttemptRow(attempt=1, state="done")], run_id=method),
            "evaluation": frame(
                [EvaluationRow(task_id="recode-syntax", n_shot=n_shot, n_items=20)], run_id=method, attempt=1
            ),
            "sample_score": frame(samples, run_id=method, attempt=1),
        }
        store.import_frames(database, frames, adds=True)
    numbers = json.loads(
        run_cli("compare", "lora", "fft", "--task", "recode-syntax", "--db", database, "--json").stdout
    )
    assert numbers["difference"] == pytest.approx(0.15)
    assert numbers["test"] == "paired bootstrap"
    assert numbers["low"] == 0.0, "three problems of twenty, not thirty items of two hundred"
    assert not numbers["differ"]
