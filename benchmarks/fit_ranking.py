"""Pairs of series put in the right order at the held-out sizes, and whether the probabilities are calibrated.

OMP_NUM_THREADS=1 python benchmarks/fit_ranking.py
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from fit_common import HoldOut, holdouts

from astraios.fit.ensemble import build
from astraios.fit.select import candidates


def pairs(table: HoldOut) -> np.ndarray:
    """One row a pair and point: P(first is better), truth, and the same for the ranking at the largest known size."""
    train, hidden = table.ladders()
    ensemble = build(candidates("auto", train), train)
    names = ensemble.ladder.names
    needed = {name for fit in ensemble.fits for name in fit.law.inputs}
    found, rows = {}, []
    for series in hidden.series:
        g = names.index(series.name)
        drawn = ensemble.project({n: np.tile(c, (len(names), 1)) for n, c in series.inputs.items() if n in needed})
        mine = train.series[g]
        last = mine.inputs["n_params"] + mine.inputs["n_tokens"]
        found[series.name] = (series, drawn.new[g], float(mine.log_loss[last.argmax()]))
    for a, b in combinations(sorted(found), 2):
        if table.name == "finetune" and a.split()[-1] != b.split()[-1]:
            continue
        (one, one_draws, one_last), (two, two_draws, two_last) = found[a], found[b]
        for i in range(len(one)):
            same = np.flatnonzero(np.isclose(two.inputs["n_tokens"], one.inputs["n_tokens"][i], atol=1e-6))
            if same.size:
                p = float((one_draws[:, i] < two_draws[:, same[0]]).mean())
                rows.append([p, one.log_loss[i] < two.log_loss[same[0]], one_last < two_last])
    return np.array(rows, float)


def main() -> None:
    print("| table | pairs | ours in order | order at the largest known | Brier | always the base rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("gadre", "finetune"):
        p, truth, last = pairs(holdouts()[name]).T
        base = truth.mean()
        print(
            f"| {name} | {len(p)} | {((p > 0.5) == truth).mean():.1%} | {(last == truth).mean():.1%}"
            f" | {((p - truth) ** 2).mean():.3f} | {(base * (1 - base)):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
