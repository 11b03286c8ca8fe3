"""What benchmarks can decide: decision accuracy by hand, power by statsmodels and by simulation, Holm's groups."""

from __future__ import annotations

import numpy as np
import pytest
from statsmodels.stats.power import NormalIndPower, TTestIndPower
from statsmodels.stats.proportion import proportion_effectsize

from astraios.fit.decide.compare import paired
from astraios.fit.decide.quality import assess, groups_of, power_of_items, power_of_runs
from astraios.fit.scores.data import ScoreData


def scores(
    table: dict[str, list[float]], sizes: list[float], seeds: int = 1, items: float = 1000, chance: float = 0.0
) -> ScoreData:
    """A score a method and size; with several seeds each repeated with the noise in the table's last digits."""
    group, size, value = [], [], []
    for name, row in table.items():
        for k, one in enumerate(row):
            group.append(name)
            size.append(sizes[k // seeds])
            value.append(one)
    values = np.array(value)
    stderr = np.sqrt(np.maximum(values * (1 - values), 0.01) / items)
    runs = tuple(f"r{i}" for i in range(len(values)))
    blank = np.full(len(values), np.nan)
    return ScoreData("t", "accuracy", tuple(group), runs, np.log(size), blank, values, stderr, items, chance, 1.0, True)


def test_decision_accuracy_is_the_share_of_pairs_in_order() -> None:
    found = assess(scores({"a": [0.3, 0.4, 0.7], "b": [0.2, 0.5, 0.6], "c": [0.25, 0.3, 0.5]}, [1e6, 1e7, 1e8]))
    assert [d.accuracy for d in found.decisions] == pytest.approx([2 / 3, 2 / 3])
    assert found.methods == ("a", "b", "c")
    assert found.last is not None
    assert found.last.n_params == pytest.approx(1e7)
    assert found.signal == pytest.approx(np.std([0.7, 0.6, 0.5], ddof=1))
    assert found.noise_from == "items"
    tied = assess(scores({"a": [0.3, 0.7], "b": [0.3, 0.6]}, [1e6, 1e7]))
    assert tied.decisions[0].accuracy == 0.5


def test_seeds_and_checkpoints_are_noise() -> None:
    table = {"a": [0.30, 0.32, 0.70, 0.74], "b": [0.20, 0.24, 0.50, 0.52]}
    found = assess(scores(table, [1e6, 1e7], seeds=2))
    pairs = np.array([[0.30, 0.32], [0.70, 0.74], [0.20, 0.24], [0.50, 0.52]])
    assert found.noise == pytest.approx(np.sqrt(np.mean(pairs.var(1, ddof=1))))
    assert found.noise_from == "seeds"
    tails = {("a", 1.0): [0.5, 0.52, 0.5, 0.52, 0.5], ("b", 1.0): [0.4, 0.5, 0.6, 0.7, 0.8]}
    drawn = assess(scores({"a": [0.3, 0.7], "b": [0.2, 0.5]}, [1e6, 1e7]), tails=tails)
    assert drawn.noise_from == "checkpoints"
    assert 0 < drawn.noise < 0.02, "a steady rise is no noise"


def test_a_power_of_one_is_no_nan() -> None:
    assert power_of_items(None, 0.2, 1500, paired=0.2)[1] == 1.0
    powers = [power_of_items(None, 0.02, n, paired=0.0409)[1] for n in (100, 300, 399, 900)]
    assert powers == sorted(powers)  # type: ignore[type-var]
    assert powers[2] == pytest.approx(1, abs=1e-6)


@pytest.mark.promise("a benchmark says whether it is worth its runs")
def test_power_is_that_of_statsmodels_and_of_a_simulation() -> None:
    needed, power = power_of_items(0.5, 0.05, 800)
    effect = proportion_effectsize(0.525, 0.475)
    assert needed == pytest.approx(float(NormalIndPower().solve_power(effect, alpha=0.05, power=0.8)), rel=1e-6)
    assert power == pytest.approx(float(NormalIndPower().power(effect, 800, 0.05)), rel=1e-6)
    rng, n, times = np.random.default_rng(0), round(needed or 0), 4000
    a, b = rng.binomial(n, 0.525, times) / n, rng.binomial(n, 0.475, times) / n
    told = np.abs(a - b) / np.sqrt((a * (1 - a) + b * (1 - b)) / n) > 1.959964
    assert told.mean() == pytest.approx(0.8, abs=0.025)
    sharper, _ = power_of_items(0.5, 0.05, 800, paired=0.4)
    assert sharper is not None
    assert sharper < 0.5 * (needed or 0), "the same items for both are sharper"
    drawn = rng.normal(0.05, 0.4, (times, round(sharper)))
    t = drawn.mean(1) / (drawn.std(1, ddof=1) / np.sqrt(round(sharper)))
    assert (np.abs(t) > 1.97).mean() == pytest.approx(0.8, abs=0.03)
    runs = power_of_runs(0.02, 0.03)
    assert runs == pytest.approx(float(TTestIndPower().solve_power(1.5, alpha=0.05, power=0.8)), rel=1e-6)
    assert power_of_runs(0.001, 0.5) == 2.0
    assert power_of_items(None, 0.05, 800) == (None, None)


def test_methods_that_cannot_be_told_apart_are_grouped() -> None:
    means = {"a": 0.80, "b": 0.79, "c": 0.60, "d": 0.59, "e": 0.30}
    groups = groups_of(means, dict.fromkeys(means, 0.02))
    assert groups == (("a", "b"), ("c", "d"), ("e",))
    assert groups_of(means, dict.fromkeys(means, 0.5)) == (("a", "b", "c", "d", "e"),)
    assert groups_of(means, dict.fromkeys(means, 0.02), sign=-1.0)[0] == ("e",)
    # Two standard errors apart: told by one test, not among many.
    close = {f"m{i}": 0.5 + 0.0 * i for i in range(9)} | {"top": 0.5 + 2.1 * np.sqrt(2) * 0.01}
    assert len(groups_of(close, dict.fromkeys(close, 0.01))) == 1


def test_the_same_items_tell_methods_apart_that_their_scores_do_not() -> None:
    """Two methods on 400 items: one answers 12 more, and all that the other does."""
    table = {"a": [0.3, 0.53], "b": [0.3, 0.50]}
    right = np.arange(400) < 200
    both = paired(np.where(np.arange(400) < 212, 1.0, 0.0), right.astype(float))
    apart = assess(scores(table, [1e6, 1e7], items=400), paired={("a", "b"): both})
    alone = assess(scores(table, [1e6, 1e7], items=400))
    assert alone.groups == (("a", "b"),)
    assert apart.groups == (("a",), ("b",))
    assert apart.is_paired
    assert apart.power is not None
    assert alone.power is not None
    assert apart.power > 2 * alone.power
    # Forty clusters of ten variants each: the difference rests on fewer items than it seems.
    clustered = paired(np.where(np.arange(400) < 212, 1.0, 0.0), right.astype(float), list(np.arange(400) // 10))
    assert clustered.stderr > 2 * both.stderr
    assert assess(scores(table, [1e6, 1e7], items=400), paired={("a", "b"): clustered}).power < apart.power  # type: ignore[operator]
    # Seeds that scatter more than the items are not overruled by them.
    noisy = scores({"a": [0.2, 0.4, 0.43, 0.63], "b": [0.2, 0.4, 0.4, 0.6]}, [1e6, 1e7], seeds=2, items=400)
    assert assess(noisy, paired={("a", "b"): both}).groups == (("a", "b"),)


def test_what_decides_nothing_is_said() -> None:
    idle = assess(scores({"a": [0.251, 0.26], "b": [0.249, 0.262], "c": [0.25, 0.258]}, [1e6, 1e7], chance=0.25))
    assert "decides nothing" in idle.words
    assert "at chance" in idle.words
    good = assess(scores({"a": [0.5, 0.8], "b": [0.4, 0.6], "c": [0.3, 0.5]}, [1e6, 1e7], chance=0.25))
    assert good.reasons == ()
    assert good.distance_from_chance == pytest.approx(0.15)
