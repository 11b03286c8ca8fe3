"""pass@k beyond the samples: error, coverage and width of 90 % intervals over many populations of pass rates.

    OMP_NUM_THREADS=1 python benchmarks/pass_at_k.py [--draws 4] [--only WORDS]

Problems are drawn from a population whose pass@k is known, samples from the problems. Beside the code as it is stands
one beta distribution over problems (beta-binomial, problems resampled), which is what astraios had before.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, digamma

from astraios.evaluate.passk import curve
from astraios.evaluate.tasks._estimate import share_interval

LEVEL = 0.9
PROBLEMS = (40, 164, 400)
SAMPLES = (5, 10, 20, 50)
REACH = (2, 10, 100)
"""k over the samples that there are."""
MANY = 100_000
"""Problems of a population."""
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]
Interval = tuple[float, float, float]
Method = Callable[[Counts, Counts, Sequence[int]], list[Interval]]


def populations() -> dict[str, Floats]:
    """Pass rates of many problems, by what they are drawn from."""
    rng = np.random.default_rng(5)

    def crowds(share: float, first: Floats | float, second: Floats | float) -> Floats:
        return np.where(rng.random(MANY) < share, first, second)

    def beta(a: float, b: float) -> Floats:
        return rng.beta(a, b, MANY)

    def log_normal(middle: float, spread: float) -> Floats:
        return np.minimum(np.exp(rng.normal(np.log(middle), spread, MANY)), 1.0)

    return {
        "beta(0.4, 0.8)": beta(0.4, 0.8),
        "beta(2, 5)": beta(2, 5),
        "beta(0.3, 0.3), U-shaped": beta(0.3, 0.3),
        "beta(0.15, 3), heavy near 0": beta(0.15, 3),
        "beta(0.05, 0.2), heavy near 0": beta(0.05, 0.2),
        "half beta(20, 3), half never solved": crowds(0.5, beta(20, 3), 0.0),
        "half beta(20, 3), half at 0.003": crowds(0.5, beta(20, 3), 0.003),
        "half beta(20, 3), half beta(2, 30)": crowds(0.5, beta(20, 3), beta(2, 30)),
        "half beta(4, 4), half beta(1, 100)": crowds(0.5, beta(4, 4), beta(1, 100)),
        "half never solved, half beta(0.3, 1.5)": crowds(0.5, 0.0, beta(0.3, 1.5)),
        "30% never solved, 70% beta(1, 3)": crowds(0.3, 0.0, beta(1, 3)),
        "20% never solved, 80% beta(0.5, 0.5)": crowds(0.2, 0.0, beta(0.5, 0.5)),
        "log-normal around 0.02, spread 2": log_normal(0.02, 2.0),
        "log-normal around 0.003, spread 1.5": log_normal(0.003, 1.5),
        "logit-normal around -1, spread 3": 1 / (1 + np.exp(-rng.normal(-1, 3, MANY))),
        "all at 0.02": np.full(MANY, 0.02),
        "all at 0.0001": np.full(MANY, 1e-4),
        "* log-uniform from 0.0001 to 1": 10 ** rng.uniform(-4, 0, MANY),
        "* three crowds at 0.7, 0.05, 0.002": rng.choice([0.7, 0.05, 0.002], MANY),
        "* 15% never solved, 85% log-normal around 0.05": crowds(0.15, 0.0, log_normal(0.05, 1.2)),
        "* 80% beta(1, 1), 20% at 0.005": crowds(0.8, beta(1, 1), 0.005),
        "none ever solved": np.zeros(MANY),
        "all always solved": np.ones(MANY),
    }


def as_it_is(n: Counts, c: Counts, ks: Sequence[int]) -> list[Interval]:
    """What astraios says."""
    return [(point.value, point.low, point.high) for point in curve(n, c, ks, LEVEL)]


def one_beta(n: Counts, c: Counts, ks: Sequence[int]) -> list[Interval]:
    """One beta over problems by penalised likelihood, 100 resamples of the problems."""
    pairs, counts = np.unique(np.stack([n, c]), axis=1, return_counts=True)
    weights, rng = counts.astype(float), np.random.default_rng(0)
    start = _fit_beta(pairs, weights, np.array([-1.0, 0.5]))
    values = _beta_means(pairs, weights, start, ks)
    drawn = rng.multinomial(len(n), counts / len(n), 100).astype(float)
    draws = [_beta_means(pairs, one, _fit_beta(pairs, one, start), ks) for one in drawn]
    lows, highs = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    found = []
    for value, low, high in zip(values, lows, highs, strict=True):
        ends = share_interval(float(value), None, len(n), LEVEL) if value in (0, 1) else (low, high)
        found.append((float(value), float(min(low, value, ends[0])), float(max(high, value, ends[1]))))
    return found


def _fit_beta(pairs: Counts, weights: Floats, start: Floats) -> Floats:
    n, c = pairs

    def objective(theta: Floats) -> tuple[float, Floats]:
        a, b = np.exp(theta)
        value = weights @ (betaln(a + c, b + n - c) - betaln(a, b))
        both = digamma(a + b) - digamma(a + b + n)
        slope_a = a * (weights @ (digamma(a + c) - digamma(a) + both))
        slope_b = b * (weights @ (digamma(b + n - c) - digamma(b) + both))
        return float(-value + 0.5 * (theta @ theta) / 16), -np.array([slope_a, slope_b]) + theta / 16

    return minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(-8.0, 8.0)] * 2).x


def _beta_means(pairs: Counts, weights: Floats, theta: Floats, ks: Sequence[int]) -> Floats:
    (a, b), (n, c) = np.exp(theta), pairs
    left = [np.exp(betaln(a + c, b + n - c + k) - betaln(a + c, b + n - c)) for k in ks]
    return np.array([1 - float(weights @ one) / float(weights.sum()) for one in left])


METHODS: dict[str, Method] = {"one beta": one_beta, "astraios": as_it_is}


@dataclass(frozen=True)
class Result:
    """What one method said of one problem set, by reach; in points."""

    error: Floats
    covered: NDArray[np.bool_]
    width: Floats


def results(rates: Floats, problems: int, samples: int, draws: int) -> dict[str, list[Result]]:
    """Every method on the same problem sets of one population and size."""
    ks = [samples * reach for reach in REACH]
    truth = np.array([(1 - (1 - rates) ** k).mean() for k in ks])
    found: dict[str, list[Result]] = {name: [] for name in METHODS}
    for draw in range(draws):
        rng = np.random.default_rng([draw, problems, samples])
        passed = rng.binomial(samples, rng.choice(rates, problems))
        for name, method in METHODS.items():
            value, low, high = np.array(method(np.full(problems, samples), passed, ks)).T
            covered = (low - 1e-9 <= truth) & (truth <= high + 1e-9)
            found[name].append(Result(100 * abs(value - truth), covered, 100 * (high - low)))
    return found


def head(of: str) -> None:
    print(
        f"| {of} | " + " | ".join(f"k = {k} n: {what}" for k in REACH for what in ("error", "coverage", "width")) + " |"
    )
    print("| --- |" + " --- |" * (len(REACH) * 3))


def row(name: str, found: list[dict[str, list[Result]]]) -> None:
    """Mean error, coverage and width: of one beta, then of astraios."""
    whole = {method: [one for part in found for one in part[method]] for method in METHODS}
    cells = []
    for place in range(len(REACH)):
        for what, shape in (("error", "{:.1f}"), ("covered", "{:.0%}"), ("width", "{:.0f}")):
            means = [np.mean([getattr(one, what)[place] for one in whole[method]]) for method in METHODS]
            cells.append(" / ".join(shape.format(mean) for mean in means))
    print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def speed() -> None:
    """CPU seconds of 164 problems x 20 samples."""
    rng = np.random.default_rng(0)
    n, c = np.full(164, 20), rng.binomial(20, rng.beta(0.4, 0.8, 164))
    ks = [1, 2, 5, 10, 20, 50, 100, 200]
    for name, method in METHODS.items():
        taken = []
        for _ in range(5):
            start = time.process_time()
            method(n, c, ks)
            taken.append(time.process_time() - start)
        print(f"{name}: {np.median(taken):.2f} s of CPU for a curve of 164 problems x 20 samples")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=4, help="problem sets of each size")
    parser.add_argument("--only", default="", help="populations whose name has these words")
    options = parser.parse_args()
    print("One beta / astraios: mean error in points, coverage of 90 % intervals, width in points;")
    print(
        f"{options.draws} problem sets of each size. Populations with * were added after all forms but one (a crowd at one rate) were chosen.\n"
    )
    by_size: dict[str, list[dict[str, list[Result]]]] = {}
    head("population")
    for name, rates in populations().items():
        if options.only not in name:
            continue
        mine = []
        for problems, samples in product(PROBLEMS, SAMPLES):
            mine.append(results(rates, problems, samples, options.draws))
            by_size.setdefault(f"{problems} x {samples}", []).append(mine[-1])
        row(name, mine)
    print()
    head("problems x samples")
    for name, found in by_size.items():
        row(name, found)
    print()
    speed()


if __name__ == "__main__":
    main()
