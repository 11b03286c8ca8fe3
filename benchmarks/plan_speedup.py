"""How often the interval of a speed-up holds the truth, over synthetic pairs.

Pairs share their floor; amplitudes differ by up to 28 % (35 % over sizes and data), exponents by 5 %, or, over sizes and
data, also by nothing at all. Runs have 0.5 % noise: five sizes with two seeds each and a target four times the largest,
or four sizes by four amounts of data and a budget seven times the largest.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl
from scipy.optimize import brentq, minimize_scalar

import astraios
from astraios.fit.decide.plan import Planned
from astraios.fit.decide.speedup import SpeedUp, speedup
from astraios.fit.targets import Target, Tokens

NOISE = 0.005


def of_sizes(rng: np.random.Generator) -> tuple[SpeedUp, float]:
    """A pair that differs in size alone, and its true factor."""
    floor, alpha, target = rng.uniform(1.5, 2), rng.uniform(0.2, 0.45), 4e8
    own = rng.uniform(0.5, 2) * 1e6**alpha
    steep = alpha * np.exp(0.05 * rng.standard_normal())
    slow, fast = own * np.exp(rng.uniform(0, 0.25)), own * 1e7 ** (steep - alpha)
    curves = {"a": lambda n: floor + slow * n**-alpha, "b": lambda n: floor + fast * n**-steep}
    rows = [
        {"g": g, "n": n, "seed": s, "loss": curve(n) * np.exp(NOISE * rng.standard_normal())}
        for g, curve in curves.items() for n in np.geomspace(1e6, 1e8, 5) for s in range(2)
    ]  # fmt: skip
    result = astraios.fit(pl.DataFrame(rows), n="n", group="g")
    planned = Planned(result.ensemble, Tokens("constant", 1e9))
    truth = (slow / (fast * target**-steep)) ** (1 / alpha) / target
    return speedup(planned, "a", "b", Target(target, 1e9)), truth


@dataclass(frozen=True)
class Curve:
    """E + a (N / 1e8)^-alpha + b (D / 2e9)^-beta."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, n: np.ndarray | float, d: np.ndarray | float) -> np.ndarray | float:
        return self.floor + self.a * (n / 1e8) ** -self.alpha + self.b * (d / 2e9) ** -self.beta

    def best(self, log_budget: float) -> float:
        """The least loss that N D = exp(log_budget) gives."""
        found = minimize_scalar(
            lambda n: self.loss(np.exp(n), np.exp(log_budget - n)), bracket=(log_budget / 2 - 1, log_budget / 2 + 1)
        )
        return float(found.fun)

    def needs(self, loss: float) -> float:
        """The log budget whose least loss it is."""
        return float(brentq(lambda c: self.best(c) - loss, 25.0, 90.0))


def of_sizes_and_data(rng: np.random.Generator, apart: float) -> tuple[SpeedUp, float]:
    """A pair over sizes and data, and its true factor.

    Args:
        rng: of everything.
        apart: by how much (in logarithms) the exponents of the two differ beside their amplitudes.
    """
    floor, alpha, beta = rng.uniform(1.5, 2), rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.4)
    a, b = rng.uniform(0.3, 0.8), rng.uniform(0.3, 0.8)
    ratio = float(np.exp(rng.uniform(0, 0.3)))
    moved = np.exp(apart * rng.standard_normal(2))
    curves = {
        "a": Curve(floor, ratio * a, alpha, ratio * b, beta),
        "b": Curve(floor, a, alpha * moved[0], b, beta * moved[1]),
    }
    rows = [
        {"g": g, "n": n, "d": d, "loss": curve.loss(n, d) * np.exp(NOISE * rng.standard_normal())}
        for g, curve in curves.items() for n in np.geomspace(1e7, 3e8, 4) for d in np.geomspace(3e8, 1e10, 4)
    ]  # fmt: skip
    result = astraios.fit(pl.DataFrame(rows), n="n", d="d", group="g")
    planned = Planned(result.ensemble, Tokens("free", 1e10))
    budget = float(np.log(1e9 * 2e10))
    truth = float(np.exp(curves["a"].needs(curves["b"].best(budget)) - budget))
    return speedup(planned, "a", "b", Target(1e9, 2e10)), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    pairs = parser.parse_args().pairs
    warnings.simplefilter("ignore")
    kinds = {
        "sizes": of_sizes, "sizes and data": partial(of_sizes_and_data, apart=0.05),
        "sizes and data, the same exponents": partial(of_sizes_and_data, apart=0.0),
    }  # fmt: skip
    for name, draw in kinds.items():
        rng = np.random.default_rng(5)
        found = [draw(rng) for _ in range(pairs)]
        held = [(one.low or 0) <= truth <= (one.high or np.inf) for one, truth in found]
        width = [np.log(one.high / one.low) for one, _ in found if one.high and one.low]
        print(f"{name}: {np.mean(held):.1%} of {pairs} held, median log width {np.median(width):.2f}, "
              f"separable {np.mean([one.separable for one, _ in found]):.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
