"""How often the interval of a speed-up holds the truth, over synthetic pairs.

Pairs share their floor; amplitudes differ by up to 28 %, exponents of sizes-only pairs by 5 %. Runs have 0.5 % noise:
five sizes with two seeds each and a target four times the largest, or four sizes by four amounts of data and a budget
seven times the largest.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import polars as pl

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


def of_sizes_and_data(rng: np.random.Generator) -> tuple[SpeedUp, float]:
    """A pair over sizes and data, and its true factor."""
    floor, alpha, beta = rng.uniform(1.5, 2), rng.uniform(0.2, 0.45), rng.uniform(0.25, 0.4)
    a, b = rng.uniform(0.3, 0.8) * 1e8**alpha, rng.uniform(0.3, 0.8) * 2e9**beta
    ratio = float(np.exp(rng.uniform(0, 0.3)))
    rows = [
        {"g": g, "n": n, "d": d,
         "loss": (floor + q * (a * n**-alpha + b * d**-beta)) * np.exp(NOISE * rng.standard_normal())}
        for g, q in (("a", ratio), ("b", 1.0)) for n in np.geomspace(1e7, 3e8, 4) for d in np.geomspace(3e8, 1e10, 4)
    ]  # fmt: skip
    result = astraios.fit(pl.DataFrame(rows), n="n", d="d", group="g")
    planned = Planned(result.ensemble, Tokens("free", 1e10))
    return speedup(planned, "a", "b", Target(1e9, 2e10)), ratio ** ((alpha + beta) / (alpha * beta))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    pairs = parser.parse_args().pairs
    warnings.simplefilter("ignore")
    for name, draw in (("sizes", of_sizes), ("sizes and data", of_sizes_and_data)):
        rng = np.random.default_rng(5)
        found = [draw(rng) for _ in range(pairs)]
        held = [(one.low or 0) <= truth <= (one.high or np.inf) for one, truth in found]
        width = [np.log(one.high / one.low) for one, _ in found if one.high and one.low]
        print(f"{name}: {np.mean(held):.1%} of {pairs} held, median log width {np.median(width):.2f}, "
              f"separable {np.mean([one.separable for one, _ in found]):.0%}")  # fmt: skip


if __name__ == "__main__":
    main()
