"""Coverage on ladders whose truth is known: power laws with offset, methods alike but not the same, noise of runs.

OMP_NUM_THREADS=1 python benchmarks/fit_synthetic.py [--ladders 1000]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import polars as pl

from astraios.fit.data import read
from astraios.fit.ensemble import build
from astraios.fit.select import candidates


def ladder(rng: np.random.Generator, sizes: int, noise: float = 0.003) -> tuple[pl.DataFrame, np.ndarray, float]:
    """Runs of 4 to 8 methods at `sizes` sizes, the true losses at a target 2 to 8 times the largest, and its size."""
    methods = int(rng.integers(4, 9))
    step = rng.uniform(np.log(1.8), np.log(4))
    log_size = np.log(1e6) + step * np.arange(sizes)
    target = log_size[-1] + rng.uniform(np.log(2), np.log(8))
    floor, share, exponent = rng.uniform(0.5, 3.5), rng.uniform(0.3, 1.2), np.exp(rng.normal(np.log(0.35), 0.4))
    rows, truth = [], []
    for m in range(methods):
        e = floor * np.exp(rng.normal(0, 0.05))
        a = floor * share * np.exp(rng.normal(0, 0.15))
        alpha = exponent * np.exp(rng.normal(0, 0.15))
        loss = e + a * np.exp(-alpha * (log_size - log_size[0]))
        truth.append(e + a * np.exp(-alpha * (target - log_size[0])))
        rows += [
            {"method_id": f"m{m}", "run_id": f"m{m}-{i}", "n_params": float(np.exp(s)), "loss": float(v)}
            for i, (s, v) in enumerate(zip(log_size, loss * np.exp(noise * rng.standard_normal(sizes)), strict=True))
        ]
    return pl.DataFrame(rows), np.array(truth), float(np.exp(target))


def cover(seed: int, sizes: int, noise: float = 0.003) -> tuple[float, float, float, float]:
    """Share of methods covered by the interval of a new run and of the mean, relative error, relative width."""
    rng = np.random.default_rng([seed, sizes])
    frame, truth, target = ladder(rng, sizes, noise)
    data = read(frame, group="method_id")
    drawn = build(candidates("auto", data), data, seed=seed).project(
        {"n_params": np.full((len(data), 1), np.log(target))}
    )
    run = truth * np.exp(noise * rng.standard_normal(len(truth)))
    low, high = drawn.interval(0.9, new=True)
    mean_low, mean_high = drawn.interval(0.9)
    inside = ((low[:, 0] <= run) & (run <= high[:, 0])).mean()
    inside_mean = ((mean_low[:, 0] <= truth) & (truth <= mean_high[:, 0])).mean()
    error = np.abs(np.exp(drawn.mean[:, 0]) / truth - 1).mean()
    return float(inside), float(inside_mean), float(error), float(((high - low)[:, 0] / truth).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ladders", type=int, default=1000)
    args = parser.parse_args()
    counts = (3, 4, 5, 6, 8)
    print("| sizes | ladders | new run covered | mean covered | relative error | width | seconds a ladder |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sizes in counts:
        start = time.process_time()
        each = args.ladders // len(counts)
        rows = np.array([cover(seed, sizes) for seed in range(each)])
        new, mean, error, width = rows.mean(0)
        spent = (time.process_time() - start) / each
        print(f"| {sizes} | {each} | {new:.1%} | {mean:.1%} | {error:.2%} | {width:.2%} | {spent:.2f} |", flush=True)


if __name__ == "__main__":
    main()
