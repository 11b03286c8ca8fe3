"""pass@k over k: unbiased up to the samples, intervals that cover, and a projection beyond."""

from __future__ import annotations

import numpy as np
import pytest

from astraios.errors import DataError
from astraios.evaluate.passk import curve, grid
from astraios.evaluate.tasks._estimate import pass_at_k


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


@pytest.mark.promise("pass@k has honest intervals")
def test_intervals_over_problems_cover() -> None:
    """150 problems of a population with hard and easy ones, 20 samples each; the truth is the population's."""
    population = np.random.default_rng(99).beta(0.4, 0.8, 100_000)
    truth = {k: float((1 - (1 - population) ** k).mean()) for k in (1, 10, 100)}
    inside: dict[int, list[bool]] = {k: [] for k in truth}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        passed = rng.binomial(20, rng.beta(0.4, 0.8, 150))
        for point in curve([20] * 150, passed, list(truth)):
            inside[point.k].append(point.low <= truth[point.k] <= point.high)
    for k, hits in inside.items():
        assert np.mean(hits) >= 0.8, k


def test_what_is_no_count_is_refused() -> None:
    with pytest.raises(DataError):
        curve([20], [21], [1])
    with pytest.raises(DataError):
        curve([], [], [1])
    assert grid(30) == [1, 2, 5, 10, 20, 30]
