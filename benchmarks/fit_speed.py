"""Seconds and objectives of Chinchilla's law on 240 points: ours beside the literature's method and the peers.

    OMP_NUM_THREADS=1 python benchmarks/fit_speed.py [-o FILE]

Seconds are CPU seconds, of the peer's own process too; ours are the best of three repetitions. The claim is the ratio.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from fit_common import TABLES, HoldOut, simple_scaling_laws

from astraios.fit.estimate import Problems, minimise
from astraios.fit.laws import LAWS

DELTA = 1e-3


def timed(function: Callable[[], object], repeats: int = 3) -> tuple[float, object]:
    """CPU seconds, the best of several, and the last result."""
    best, result = np.inf, None
    for _ in range(repeats):
        start = time.process_time()
        result = function()
        best = min(best, time.process_time() - start)
    return best, result


def literature(n: np.ndarray, d: np.ndarray, y: np.ndarray, weights: np.ndarray, start: np.ndarray) -> float:
    """The objective that BFGS with numeric gradients reaches from one start, as Epoch's replication does it."""
    from scipy.optimize import minimize
    from scipy.special import logsumexp

    def objective(p: np.ndarray) -> float:
        a, b, e, alpha, beta = p
        residual = logsumexp(np.stack([a - alpha * n, b - beta * d, np.full_like(n, e)]), axis=0) - y
        size = np.abs(residual)
        return float((weights * np.where(size <= DELTA, residual**2 / 2, DELTA * (size - DELTA / 2))).sum())

    return float(minimize(objective, start, method="BFGS").fun)


def grid(starts: int, rng: np.random.Generator) -> np.ndarray:
    """Starts drawn from the published grid: a, b in 0..25, e in -1..1, exponents in 0..2."""
    low, high = np.array([0, 0, -1, 0, 0]), np.array([25, 25, 1, 2, 2])
    return rng.uniform(low, high, (starts, 5))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", type=Path)
    args = parser.parse_args()
    rows = pl.read_parquet(TABLES / "chinchilla_epoch.parquet").filter(~pl.col("epoch_excluded"))
    log_n, log_d = np.log(rows["n_params"].to_numpy()), np.log(rows["tokens"].to_numpy())
    y, count, rng = np.log(rows["loss"].to_numpy()), len(rows), np.random.default_rng(0)
    law, zero, delta = LAWS.get("chinchilla"), np.zeros((1, 5)), np.full((1, 1), DELTA)
    centre = np.array([log_n.mean(), log_d.mean()])
    x = np.stack([log_n, log_d]) - centre[:, None]

    def problems(weights: np.ndarray) -> Problems:
        return Problems(law, x, y[None], weights, delta, zero, zero, *law.bounds())

    ones = np.ones((1, count))
    seconds, solved = timed(lambda: minimise(problems(ones), law.guess(x, y, np.random.default_rng(0), 64)))
    best = solved.objective.argmin()  # type: ignore[attr-defined]
    reached, theta = solved.objective[best], solved.theta[best]  # type: ignore[attr-defined]
    agree = float((solved.objective <= reached * (1 + 1e-6)).mean())  # type: ignore[attr-defined]
    weights = rng.multinomial(count, np.full(count, 1 / count), 1000).astype(float)
    boot, resampled = timed(lambda: minimise(problems(weights), np.tile(theta, (1000, 1)), 200, 1e-9))
    natural = dict(zip(law.names, law.natural(law.uncentre(theta, centre)), strict=True))
    start = np.array(
        [np.log(natural["A"]), np.log(natural["B"]), np.log(natural["E"]), natural["alpha"], natural["beta"]]
    )
    peers, tries = [], grid(16, rng)
    begun = time.process_time()
    for one in tries:
        peers.append(literature(log_n, log_d, y, np.ones(count), one))
    each = (time.process_time() - begun) / len(tries)
    begun = time.process_time()
    boots = [literature(log_n, log_d, y, w, start) for w in weights[:30]]
    each_boot = (time.process_time() - begun) / 30
    ours_boot = resampled.objective  # type: ignore[attr-defined]
    no_worse = np.mean(ours_boot[:30] <= np.array(boots) * (1 + 1e-6))
    lines = [
        "| what | astraios | BFGS, numeric gradient (Epoch's way) | ratio |",
        "| --- | --- | --- | --- |",
        f"| 64 starts, s | {seconds:.3f} | {64 * each:.2f} (64 x the mean of 16) | {64 * each / seconds:.0f} x |",
        f"| 1,000 bootstraps, s | {boot:.3f} | {1000 * each_boot:.1f} (1,000 x the mean of 30) | {1000 * each_boot / boot:.0f} x |",
        f"| objective, all points | {reached:.9e} | {min(peers):.9e} (best of 16) | {reached / min(peers):.7f} |",
        f"| starts that reach it | {agree:.0%} | {np.mean(np.array(peers) <= reached * (1 + 1e-6)):.0%} | |",
        f"| resamples where ours is no worse (1e-6) | {no_worse:.1%} of 30 | | |",
        f"| relative Newton decrement | {solved.decrement[best]:.1e} | | |",  # type: ignore[attr-defined]
    ]
    again = minimise(problems(weights), np.tile(law.guess(x, y, rng, 1), (1000, 1)), 300, 1e-12).objective
    lines.append(
        f"| resamples where a second start finds nothing better | {np.mean(ours_boot <= again * (1 + 1e-6)):.1%} | | |"
    )
    frame = rows.select("n_params", pl.col("tokens").alias("n_tokens"), "loss", pl.lit("all").alias("series"))
    peer = simple_scaling_laws(HoldOut("chinchilla", "chinchilla", frame, frame.head(1)), draws=1000)
    if isinstance(peer, str):
        lines.append(f"| simple-scaling-laws, fit with 1,000 draws | | {peer} | |")
    else:
        total = seconds + boot
        lines.append(
            f"| 64 starts and 1,000 draws, s | {total:.2f} | {peer[1]:.2f} (simple-scaling-laws) | {peer[1] / total:.0f} x |"
        )
    text = "\n".join(lines)
    print(text)
    if args.o:
        args.o.write_text(text + "\n")


if __name__ == "__main__":
    main()
