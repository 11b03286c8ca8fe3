"""Best sizes at budgets that a fit has not seen, held against the minima of isoFLOP parabolas there.

Each table of isoFLOP lines is fitted on the lower half of its budgets. `astraios plan` then says the best size at each
upper budget, which is compared with the vertex of a parabola through the seven lowest losses of that budget.
"""

from __future__ import annotations

import warnings

import numpy as np
import polars as pl
from fit_common import TABLES

import astraios
from astraios.fit.decide import planning

EPOCH = {"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}
"""Chinchilla's law as Besiroglu et al. (2024, arXiv:2404.10102) fitted it to the same 240 points."""


def minimum(line: pl.DataFrame) -> float | None:
    """Log size at the vertex of a parabola through the lowest losses of one budget, if it lies among them."""
    x, y = np.log(line["n_params"].to_numpy()), np.log(line["loss"].to_numpy())
    if len(x) < 5:
        return None
    low = y.argsort()[:7]
    bend, slope, _ = np.polyfit(x[low], y[low], 2)
    vertex = -slope / 2 / bend if bend > 0 else np.inf
    return float(vertex) if x.min() < vertex < x.max() else None


def tables() -> dict[str, pl.DataFrame]:
    """Columns n_params, tokens, loss, budget."""
    found = {}
    collected = pl.read_parquet(TABLES / "isoflop_collection.parquet").filter(~pl.col("outlier").fill_null(value=False))
    for (name,), part in collected.group_by(["experiment"], maintain_order=True):
        found[str(name)] = part.select("n_params", "tokens", "loss", "budget")
    tuned = pl.read_parquet(TABLES / "porian_isoflop.parquet")
    for key, part in tuned.group_by(["dataset", "hparams", "warmup", "decay"], maintain_order=True):
        found["/".join(map(str, key))] = part.select("n_params", "tokens", "loss", budget="flops")
    return {name: part.drop_nulls().filter(pl.col("loss") > 0) for name, part in found.items()}


def main() -> None:
    warnings.simplefilter("ignore")
    print(f"{'table':<45} {'n':>3} {'error (log)':>12} {'covered':>8} {'one view':>9}")
    errors, covered, alone = [], [], []
    for name, table in tables().items():
        budgets = sorted(table["budget"].unique())
        half = len(budgets) // 2
        minima = {b: minimum(table.filter(pl.col("budget") == b)) for b in budgets[half:]}
        if len(budgets) < 5 or not any(m is not None for m in minima.values()):
            continue
        result = astraios.fit(table.filter(pl.col("budget") < budgets[half]).drop("budget"), d="tokens")
        views = planning.even(result.ensemble, result.estimator, result.seed)
        own = []
        for budget, truth in minima.items():
            if truth is None:
                continue
            line = table.filter(pl.col("budget") == budget)
            flops = float((6 * line["n_params"] * line["tokens"]).median())  # type: ignore[arg-type]
            one = planning.allocate(result.ensemble, flops)
            both = planning.allocate(result.ensemble, flops, views=views)
            own.append((np.log(both.n_params) - truth, both.n_params_low <= np.exp(truth) <= both.n_params_high,
                        one.n_params_low <= np.exp(truth) <= one.n_params_high))  # fmt: skip
        error, hit, hit_one = (np.array(column, float) for column in zip(*own, strict=True))
        print(f"{name:<45} {len(own):>3} {error.mean():>12.3f} {hit.mean():>8.0%} {hit_one.mean():>9.0%}")
        errors.append(np.abs(error).mean())
        covered.append(hit.mean())
        alone.append(hit_one.mean())
    print(f"{'mean over tables':<45} {'':>3} {np.mean(errors):>12.3f} {np.mean(covered):>8.0%} {np.mean(alone):>9.0%}")
    chinchilla()


def chinchilla() -> None:
    """The 240 points at Chinchilla's own budget, beside the published replication."""
    points = pl.read_parquet(TABLES / "chinchilla_epoch.parquet").filter(~pl.col("epoch_excluded"))
    share = 5.76e23 / 6
    g = (EPOCH["alpha"] * EPOCH["A"] / (EPOCH["beta"] * EPOCH["B"])) ** (1 / (EPOCH["alpha"] + EPOCH["beta"]))
    n = g * share ** (EPOCH["beta"] / (EPOCH["alpha"] + EPOCH["beta"]))
    print(f"Epoch's replication: N* {n:.3g}, D* {share / n:.3g}")
    for law, estimator in (("auto", "huber"), ("auto", "huber_even"), ("chinchilla", "huber_1e-3")):
        result = astraios.fit(points.select("n_params", "tokens", "loss"), law=law, d="tokens", estimator=estimator)
        views = planning.even(result.ensemble, estimator, 0)
        planner = planning.planner(result.ensemble, views=views)
        found = planner.at(5.76e23)
        back = planner.least(found.loss).budget or 0.0
        print(
            f"{law} {estimator}: N* {found.n_params:.3g} [{found.n_params_low:.3g}, {found.n_params_high:.3g}], "
            f"D* {found.n_tokens:.3g} [{found.n_tokens_low:.3g}, {found.n_tokens_high:.3g}], loss {found.loss:.4f} "
            f"[{found.loss_low:.4f}, {found.loss_high:.4f}], exponent {found.exponent:.3f}; "
            f"back from that loss: {back / 5.76e23 - 1:.1e}"
        )


if __name__ == "__main__":
    main()
