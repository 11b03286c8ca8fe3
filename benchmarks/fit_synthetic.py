"""Coverage on ladders whose truth is known, and whether `design` buys more than runs added at random.

    OMP_NUM_THREADS=1 python benchmarks/fit_synthetic.py [--ladders 1000] [--few 200] [--designs 100]

Truths are power laws with offset, methods alike but not the same, runs have noise. For `design` a run costs what its
size says; the runs that it chose, and as many random choices as make up the same budget, are then really made and
fitted.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import polars as pl

from astraios.fit.decide.design import design
from astraios.fit.ensemble import build
from astraios.fit.observations import read
from astraios.fit.weigh import candidates


def ladder(rng: np.random.Generator, sizes: int, noise: float = 0.003) -> Made:
    """Runs of 4 to 8 methods at `sizes` sizes, the true losses at a target 2 to 8 times the largest, and its size."""
    methods = int(rng.integers(4, 9))
    step = rng.uniform(np.log(1.8), np.log(4))
    log_size = np.log(1e6) + step * np.arange(sizes)
    target = log_size[-1] + rng.uniform(np.log(2), np.log(8))
    floor, share, exponent = rng.uniform(0.5, 3.5), rng.uniform(0.3, 1.2), np.exp(rng.normal(np.log(0.35), 0.4))
    rows, truth, curves = [], [], []
    for m in range(methods):
        e = floor * np.exp(rng.normal(0, 0.05))
        a = floor * share * np.exp(rng.normal(0, 0.15))
        alpha = exponent * np.exp(rng.normal(0, 0.15))
        curves.append((e, a, alpha))
        loss = e + a * np.exp(-alpha * (log_size - log_size[0]))
        truth.append(e + a * np.exp(-alpha * (target - log_size[0])))
        rows += [
            {"method_id": f"m{m}", "run_id": f"m{m}-{i}", "n_params": float(np.exp(s)), "loss": float(v)}
            for i, (s, v) in enumerate(zip(log_size, loss * np.exp(noise * rng.standard_normal(sizes)), strict=True))
        ]
    return Made(pl.DataFrame(rows), np.array(truth), float(np.exp(target)), tuple(curves), noise)


@dataclass(frozen=True)
class Made:
    """A ladder and the truth behind it."""

    frame: pl.DataFrame
    truth: np.ndarray
    target: float
    curves: tuple[tuple[float, float, float], ...]
    noise: float

    def more(self, runs: list[tuple[str, float]], rng: np.random.Generator) -> pl.DataFrame:
        """The ladder with further runs, (method, size) each."""
        rows = []
        for i, (name, size) in enumerate(runs):
            e, a, alpha = self.curves[int(name[1:])]
            loss = (e + a * (size / 1e6) ** -alpha) * np.exp(self.noise * rng.standard_normal())
            rows.append({"method_id": name, "run_id": f"more{i}", "n_params": float(size), "loss": float(loss)})
        return pl.concat([self.frame, pl.DataFrame(rows, schema=self.frame.schema)])


def cover(seed: int, sizes: int, noise: float = 0.003) -> tuple[float, float, float, float]:
    """Share of methods covered by the interval of a new run and of the mean, relative error, relative width.

    These ladders have no luck of a size, and the fit is told so.
    """
    rng = np.random.default_rng([seed, sizes])
    made = ladder(rng, sizes, noise)
    truth, target, data = made.truth, made.target, read(made.frame, group="method_id")
    drawn = build(candidates("auto", data), data, seed=seed, base_noise=0).project(
        {"n_params": np.full((len(data), 1), np.log(target))}
    )
    run = truth * np.exp(noise * rng.standard_normal(len(truth)))
    low, high = drawn.interval(0.9, new=True)
    mean_low, mean_high = drawn.interval(0.9)
    inside = ((low[:, 0] <= run) & (run <= high[:, 0])).mean()
    inside_mean = ((mean_low[:, 0] <= truth) & (truth <= mean_high[:, 0])).mean()
    error = np.abs(np.exp(drawn.mean[:, 0]) / truth - 1).mean()
    return float(inside), float(inside_mean), float(error), float(((high - low)[:, 0] / truth).mean())


FEW = ((3, 1, 0.01, 0.0), (4, 1, 0.01, 0.0), (6, 1, 0.01, 0.0), (3, 7, 0.003, 0.01), (3, 7, 0.003, 0.015))
"""Sizes, series, own noise of a run, and noise that all series of a size share: one base model a size."""


def few(seed: int, sizes: int, methods: int, own: float, shared: float) -> tuple[float, ...]:
    """Share of series covered by the interval of the mean and of a new run (of a new base), relative error and width.

    Then the share of pairs of series that are put in order, by us and by the largest known size.
    """
    rng = np.random.default_rng([seed, sizes, methods])
    steps = np.log(1e8) + rng.uniform(np.log(2), np.log(4)) * np.arange(sizes)
    target = steps[-1] + rng.uniform(np.log(2), np.log(10))
    floor, share, exponent = rng.uniform(1, 3), rng.uniform(0.2, 1), np.exp(rng.normal(np.log(0.35), 0.3))
    luck, alike = shared * rng.standard_normal(sizes + 1), float(methods > 1)
    rows, truth = [], []
    for m in range(methods):
        e = floor * np.exp(alike * rng.normal(0, 0.03))
        a, alpha = floor * share * np.exp(alike * rng.normal(0, 0.1)), exponent * np.exp(alike * rng.normal(0, 0.1))
        curve = e + a * np.exp(-alpha * (np.append(steps, target) - steps[0]))
        loss = curve[:-1] * np.exp(luck[:-1] + own * rng.standard_normal(sizes))
        rows += [
            {"g": f"m{m}", "n_params": float(np.exp(s)), "loss": float(v)} for s, v in zip(steps, loss, strict=True)
        ]
        truth.append(curve[-1])
    data, known = read(pl.DataFrame(rows), group="g"), np.array(truth)
    drawn = build(candidates("auto", data), data, seed=seed).project({"n_params": np.full((methods, 1), target)})
    run = known * np.exp(luck[-1] + own * rng.standard_normal(methods))
    (low, high), (new_low, new_high) = drawn.interval(0.9), drawn.interval(0.9, new=True)
    last = np.array([series.log_loss[-1] for series in data.series])
    a, b = np.triu_indices(methods, 1)
    right = known[a] < known[b]
    return (
        float(((low[:, 0] <= known) & (known <= high[:, 0])).mean()),
        float(((new_low[:, 0] <= run) & (run <= new_high[:, 0])).mean()),
        float(np.abs(np.exp(drawn.mean[:, 0]) / known - 1).mean()),
        float(((high - low)[:, 0] / known).mean()),
        *(float(((x[a] < x[b]) == right).mean()) if len(a) else np.nan for x in (drawn.mean[:, 0], last)),
    )


def show_few(count: int) -> None:
    """Coverage with few sizes and one base model a size."""
    print("\n| sizes | series | own noise | shared noise | mean covered | new run covered | relative error | width of the mean"
          " | pairs in order | at the largest known |")  # fmt: skip
    print("| --- " * 10 + "|")
    for case in FEW:
        mean, new, error, width, ours, last = np.mean([few(seed, *case) for seed in range(count)], axis=0)
        print(
            f"| {case[0]} | {case[1]} | {case[2]:.1%} | {case[3]:.1%} | {mean:.1%} | {new:.1%} | {error:.2%}"
            f" | {width:.2%} | {ours:.1%} | {last:.1%} |",
            flush=True,
        )


def at_target(frame: pl.DataFrame, made: Made, seed: int) -> tuple[float, float]:
    """Mean relative width of the intervals of the mean at the target, and mean relative error."""
    data = read(frame, group="method_id")
    drawn = build(candidates("auto", data), data, seed=seed).project(
        {"n_params": np.full((len(data), 1), np.log(made.target))}
    )
    low, high = drawn.interval(0.9)
    return float(((high - low)[:, 0] / made.truth).mean()), float(
        np.abs(np.exp(drawn.mean[:, 0]) / made.truth - 1).mean()
    )


def designed(seed: int) -> list[tuple[float, float]]:
    """Width and error at the target: before, with the runs that `design` chose, and with runs at random."""
    rng = np.random.default_rng([seed, 77])
    made = ladder(rng, 4)
    data = read(made.frame, group="method_id")
    rungs = np.exp(data.levels("n_params"))
    sizes = np.append(rungs, rungs[-1] * np.sqrt(made.target / rungs[-1]))

    def cost(_: str, size: float) -> float:
        return size / rungs[-1]

    budget = 3 * cost("", sizes[-1])
    plan = design(build(candidates("auto", data), data, seed=seed), made.target, budget, cost, list(sizes))
    chosen = [(run.method_id, run.n_params) for run in plan.runs]
    found = [at_target(made.frame, made, seed), at_target(made.more(chosen, rng), made, seed)]
    others = []
    for _ in range(3):
        runs: list[tuple[str, float]] = []
        left = plan.spent
        while left >= cost("", sizes[0]):
            size = float(rng.choice(sizes[[cost("", s) <= left for s in sizes]]))
            runs.append((data.names[int(rng.integers(len(data)))], size))
            left -= cost("", size)
        others.append(at_target(made.more(runs, rng), made, seed))
    return [*found, tuple(np.mean(others, axis=0))]  # type: ignore[list-item]


def show_designs(count: int) -> None:
    """Design against chance, paired by ladder."""
    rows = np.array([designed(seed) for seed in range(count)])
    width, error = rows[:, :, 0], rows[:, :, 1]
    better = float((width[:, 1] < width[:, 2]).mean())
    gain = width[:, 2] - width[:, 1]
    print(f"\n{count} ladders of 4 sizes; these and one half way to the target may be run, three of the latter:\n")
    print("| | width of the 90 % interval | relative error |\n| --- | --- | --- |")
    for i, name in enumerate(("before", "runs by design", "runs at random, same cost")):
        print(f"| {name} | {width[:, i].mean():.2%} | {error[:, i].mean():.2%} |")
    print(f"\nDesign is narrower on {better:.0%} of the ladders, by {gain.mean():.2%} +- "
          f"{gain.std(ddof=1) / np.sqrt(count):.2%} (standard error).")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ladders", type=int, default=1000)
    parser.add_argument("--designs", type=int, default=100)
    parser.add_argument("--few", type=int, default=200)
    args = parser.parse_args()
    counts = (3, 4, 5, 6, 7, 8)
    print("| sizes | ladders | new run covered | mean covered | relative error | width | seconds a ladder |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for sizes in counts if args.ladders else ():
        start = time.process_time()
        each = args.ladders // len(counts)
        rows = np.array([cover(seed, sizes) for seed in range(each)])
        new, mean, error, width = rows.mean(0)
        spent = (time.process_time() - start) / each
        print(f"| {sizes} | {each} | {new:.1%} | {mean:.1%} | {error:.2%} | {width:.2%} | {spent:.2f} |", flush=True)
    if args.few:
        show_few(args.few)
    if args.designs:
        show_designs(args.designs)


if __name__ == "__main__":
    main()
