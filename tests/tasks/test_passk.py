"""pass@k over k: unbiased up to the samples, intervals that cover, and a projection beyond."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from astraios import store, workflow
from astraios.errors import DataError
from astraios.evaluate import pass_rates
from astraios.evaluate.passk import curve, grid
from astraios.evaluate.tasks._estimate import pass_at_k
from astraios.records import AttemptRow, EvaluationRow, RunRow, SampleScore, TaskRow, frame
from tests.conftest import run_cli

TASK = "humanevalfix-python"


def test_up_to_the_samples_it_is_the_unbiased_estimate() -> None:
    samples, passed = [20] * 6, [0, 1, 3, 10, 19, 20]
    for point in curve(samples, passed, [1, 10, 20]):
        by_hand = np.mean([pass_at_k(20, c, point.k) for c in passed])
        assert point.value == pytest.approx(by_hand, abs=1e-12)
        assert not point.is_projected
        assert point.low <= point.value <= point.high


def test_beyond_the_samples_it_goes_on_rising() -> None:
    found = curve([20] * 40, [0] * 10 + [1] * 10 + [5] * 10 + [18] * 10, [10, 20, 50, 200])
    values = [point.value for point in found]
    assert values == sorted(values)
    assert [point.is_projected for point in found] == [False, False, True, True]
    assert values[-1] > values[1] + 0.02
    assert all(point.low <= point.value <= point.high for point in found)
    assert found == curve([20] * 40, [0] * 10 + [1] * 10 + [5] * 10 + [18] * 10, [10, 20, 50, 200]), "the same again"


POPULATIONS = {
    "one beta": lambda rng, many: rng.beta(0.4, 0.8, many),
    "easy and impossible": lambda rng, many: np.where(rng.random(many) < 0.5, rng.beta(20, 3, many), 0.0),
    "easy and rare": lambda rng, many: np.where(rng.random(many) < 0.5, rng.beta(20, 3, many), 0.003),
    "easy and hard": lambda rng, many: np.where(rng.random(many) < 0.5, rng.beta(20, 3, many), rng.beta(2, 30, many)),
    "impossible and a beta": lambda rng, many: np.where(rng.random(many) < 0.5, 0.0, rng.beta(0.3, 1.5, many)),
    "log-normal": lambda rng, many: np.minimum(np.exp(rng.normal(np.log(0.02), 2.0, many)), 1.0),
}
"""Pass rates of many problems."""


def share_solved(rates: np.ndarray, k: int) -> float:
    return float((1 - (1 - rates) ** k).mean())


@pytest.mark.slow
@pytest.mark.promise("pass@k has honest intervals")
@pytest.mark.parametrize("name", POPULATIONS)
def test_intervals_over_problems_cover(name: str) -> None:
    """The truth is the population's, of which 164 problems are drawn and 20 samples of each."""
    population = POPULATIONS[name](np.random.default_rng(99), 100_000)
    least = {1: 0.8, 20: 0.8, 40: 0.8, 200: 0.75, 2000: 0.6}
    inside: dict[int, list[bool]] = {k: [] for k in least}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        passed = rng.binomial(20, rng.choice(population, 164))
        for point in curve([20] * 164, passed, list(least)):
            inside[point.k].append(point.low <= share_solved(population, point.k) <= point.high)
    assert {k: np.mean(hits) for k, hits in inside.items() if np.mean(hits) < least[k]} == {}


@pytest.mark.parametrize("name", ["easy and impossible", "easy and hard"])
def test_two_crowds_are_two(name: str) -> None:
    """One beta over all problems is 13 points too high and 6 too low here, with the truth outside its interval."""
    rates = POPULATIONS[name](np.random.default_rng(3), 164)
    passed = np.random.default_rng(4).binomial(20, rates)
    for point in curve([20] * 164, passed, [40, 200]):
        truth = share_solved(rates, point.k)
        assert point.value == pytest.approx(truth, abs=0.03)
        assert point.low <= truth <= point.high
        assert not point.is_open


def test_what_nobody_can_know_is_wide_and_says_so() -> None:
    """A half is solved at once and a half not in five samples: never, or at a rate of a few in a thousand."""
    near, far = curve([5] * 100, [5] * 50 + [0] * 50, [6, 500])
    assert not near.is_open
    assert near.value == pytest.approx(0.5, abs=0.02), "it goes on from the unbiased estimate"
    assert far.is_open
    assert far.low < 0.55
    assert far.high > 1 - (1 - 0.001) ** 500 / 2, "50 x 5 failures are likely at a rate of 0.001"


def test_no_pass_at_all_is_no_proof_of_never() -> None:
    for point in curve([20] * 164, [0] * 164, [40, 2000]):
        assert point.low == 0.0
        assert point.high > 1 - (1 - 0.5 / (20 * 164)) ** point.k, "half a pass would be expected at this rate"
    [point] = curve([20] * 164, [20] * 164, [2000])
    assert (point.value, point.high) == (1.0, 1.0)


def test_problems_with_the_samples_count_as_they_are() -> None:
    """Of 40 samples a problem needs no projection to 30; of 20 one that passed is solved by more."""
    samples, passed = [40] * 30 + [20] * 30, [0, 1, 30] * 10 + [2, 10, 20] * 10
    [point] = curve(samples, passed, [30])
    by_hand = (np.sum([pass_at_k(40, c, 30) for c in passed[:30]]) + 30) / 60
    assert point.value == pytest.approx(by_hand, abs=1e-12)
    assert point.is_projected


def test_chances_are_those_of_the_distributions() -> None:
    n, c = np.array([20, 20, 20, 7]), np.array([0, 3, 20, 1])
    passes = pass_rates.Passes(n, c, np.ones(4))
    theta = np.array([[math.log(0.4), math.log(0.4 / 0.8)], [1.0, -3.0]])
    many = [math.comb(int(a), int(b)) for a, b in zip(n, c, strict=True)]
    for row, chances in zip(theta, np.exp(pass_rates.Power.likelihood(theta, passes)) * many, strict=True):
        a = math.exp(row[0])
        assert chances == pytest.approx(stats.betabinom.pmf(c, n, a, a * math.exp(-row[1])), rel=1e-9)
    theta = np.array([[-1.0, math.log(2.0)], [-4.0, math.log(0.5)]])
    for row, chances, left in zip(
        theta, np.exp(pass_rates.Fast.likelihood(theta, passes)) * many, pass_rates.Fast.unsolved(theta, 100, passes),
        strict=True,
    ):  # fmt: skip
        logits = np.linspace(-16, 12, 100_001)
        weight = stats.norm.pdf(logits, row[0], math.exp(row[1])) * (logits[1] - logits[0])
        rates = 1 / (1 + np.exp(-logits))
        assert chances == pytest.approx(
            [weight @ stats.binom.pmf(b, a, rates) for a, b in zip(n, c, strict=True)], rel=0.02
        )
        assert left == pytest.approx(weight @ (1 - rates) ** 100, rel=0.02)


def test_the_evidence_for_a_form_is_its_integral() -> None:
    passed = np.random.default_rng(0).binomial(10, np.random.default_rng(1).beta(0.5, 1.0, 60))
    passes = pass_rates.Passes.of(np.full(60, 10), passed)
    form = pass_rates.Form((pass_rates.Power,))
    axes = [np.linspace(mean - 5 * deviation, mean + 5 * deviation, 201) for mean, deviation in pass_rates.Power.priors]
    theta = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 2)
    log_prior = sum(stats.norm.logpdf(theta[:, i], *prior) for i, prior in enumerate(pass_rates.Power.priors))
    cell = math.log(np.prod([axis[1] - axis[0] for axis in axes]))
    whole = form.likelihood(theta, passes) + log_prior + cell
    exact = np.logaddexp.reduce(whole)
    drawn, evidence = form.sample(passes, np.random.default_rng(0))
    assert evidence == pytest.approx(exact, abs=0.4)
    mean = np.exp(whole - exact) @ form.unsolved(theta, 100, passes)
    assert form.unsolved(drawn, 100, passes).mean() == pytest.approx(mean, abs=0.01)


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(DataError):
        curve([20], [21], [1])
    with pytest.raises(DataError):
        curve([], [], [1])
    assert grid(30) == [1, 2, 5, 10, 20, 30]


@pytest.mark.parametrize("n_shot", [0, 5])
def test_the_command_draws_curves_of_samples_with_demonstrations(tmp_path: Path, n_shot: int) -> None:
    """A hundred problems, four samples each, all with the same number of demonstrations; 48 are not solved so far."""
    passed = [4] * 50 + [1] * 2 + [0] * 48
    samples = [
        SampleScore(TASK, f"{item:03}", i, float(i < count), "passed" if i < count else "failed", n_shot=n_shot)
        for item, count in enumerate(passed)
        for i in range(4)
    ]
    database = tmp_path / "a.duckdb"
    frames = {
        "run": frame([RunRow(run_id="r", origin="imported", model_id="m", method_id="lora", n_params=10**9)]),
        "attempt": frame([AttemptRow(attempt=1, state="done")], run_id="r"),
        "evaluation": frame([EvaluationRow(task_id=TASK, n_shot=n_shot, n_items=4)], run_id="r", attempt=1),
        "sample_score": frame(samples, run_id="r", attempt=1),
        "task": frame([TaskRow(task_id=TASK, title="Fix", kind="code", metric="pass@1", higher_is_better=True)]),
    }
    store.import_frames(database, frames, adds=True)
    rows = json.loads(run_cli("pass-at-k", "--k", "400", "--db", database, "--json").stdout)
    found = {row["k"]: row for row in rows}
    assert (found[1]["value"], found[2]["value"]) == (pytest.approx(0.505), pytest.approx(0.51)), "Chen's estimate"
    assert {(row["n_samples"], row["n_problems"]) for row in rows} == {(4, 100)}
    assert [k for k, row in found.items() if row["is_projected"]] == [5, 10, 20, 50, 100, 200, 400]
    assert (found[2]["warning"], found[400]["warning"]) == (None, "unsolved_unknown")
    said = run_cli("pass-at-k", "--k", "400", "--db", database).stderr
    assert f"warning: unsolved_unknown: {TASK}: 4 samples leave open" in said
    assert "(lora at 1e+09 parameters)" in said


def test_runs_with_other_demonstrations_are_left_out_aloud(tmp_path: Path) -> None:
    """What another study's runs were asked with is no matter."""
    database = tmp_path / "a.duckdb"
    for run_id, n_shot, origin in (("a", 2, "imported"), ("b", 5, "imported"), ("c", 0, "published")):
        samples = [SampleScore(TASK, f"{i}", 0, float(i < 3), "passed" if i < 3 else "failed", n_shot=n_shot)
                   for i in range(6)]  # fmt: skip
        frames = {
            "run": frame([RunRow(run_id=run_id, origin=origin, model_id="m", method_id="lora", n_params=10**9)]),
            "attempt": frame([AttemptRow(attempt=1, state="done")], run_id=run_id),
            "evaluation": frame([EvaluationRow(task_id=TASK, n_shot=n_shot, n_items=6)], run_id=run_id, attempt=1),
            "sample_score": frame(samples, run_id=run_id, attempt=1),
            "task": frame([TaskRow(task_id=TASK, title="Fix", kind="code", metric="pass@1", higher_is_better=True)]),
        }
        store.import_frames(database, frames, adds=True)
    with store.reading(database) as connection:
        (study,) = store.run_query(connection, "select study_key from run_study where run_id = 'a'")["study_key"]
    rows, warnings = workflow.pass_curves(database, study, most=1)
    assert {row["run_id"] for row in rows} == {"a"}
    assert [(w.code, w.message) for w in warnings] == [
        ("other_shots", f"{TASK}: curves are of samples with 2 demonstrations; left out are b with 5: score them with "
         "as many, or choose another study")
    ]  # fmt: skip
    with pytest.raises(
        DataError, match="run m lora seed 0 with 2 and run m lora seed 0 with 5: score one as the other was"
    ):
        workflow.compare(database, "a", "b", TASK, 0)
