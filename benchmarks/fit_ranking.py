"""Pairs of series put in the right order at the held-out sizes, and whether the probabilities are calibrated.

OMP_NUM_THREADS=1 python benchmarks/fit_ranking.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from fit_common import HoldOut, holdouts

from astraios import store
from astraios.fit.analysis import analyse
from astraios.fit.ensemble import build
from astraios.fit.request import FitRequest
from astraios.fit.scores.data import MEAN_TASK
from astraios.fit.scores.sized import SizedPart
from astraios.fit.weigh import candidates
from astraios.importers.paper import frames
from astraios.workflow.selecting import select


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


def paper() -> tuple[np.ndarray, float, float]:
    """The paper's mean score at 16B from 1B to 7B: pairs as above, and mean errors, ours and carry-forward's."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "paper.duckdb"
        store.import_frames(path, frames())
        chosen = select(path, FitRequest())
    assert chosen.scores is not None
    mean = replace(chosen, scores=chosen.scores.filter(chosen.scores["task_id"] == MEAN_TASK))
    part = next(p for p in analyse(mean).parts if p.role == "backtest")
    assert isinstance(part, SizedPart)
    assert part.hidden is not None
    model, hidden = part.model, part.hidden
    size = float(hidden.log_size[0])
    _, new = model.draw(np.random.default_rng(0), size, 4000)
    mean, truth = model.point(size), np.array([hidden.value[hidden.group.index(name)] for name in model.names])
    last = np.array([
        model.data.value[max(
            (i for i in range(len(model.data)) if model.data.group[i] == name), key=lambda i: model.data.log_size[i]
        )]
        for name in model.names
    ])  # fmt: skip
    rows = [
        [float((new[a] > new[b]).mean()), truth[a] > truth[b], last[a] > last[b]]
        for a, b in combinations(range(len(model.names)), 2)
    ]
    return np.array(rows, float), float(np.abs(mean - truth).mean()), float(np.abs(last - truth).mean())


def main() -> None:
    print("| table | pairs | ours in order | order at the largest known | Brier | always the base rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name in ("gadre", "finetune"):
        show(name, pairs(holdouts()[name]))
    rows, error, carried = paper()
    show("the paper's mean score at 16B", rows)
    print(f"\nMean score at 16B: error {100 * error:.2f} points, carry-forward {100 * carried:.2f}.")


def show(name: str, rows: np.ndarray) -> None:
    """One line of the table."""
    p, truth, last = rows.T
    base = truth.mean()
    print(
        f"| {name} | {len(p)} | {((p > 0.5) == truth).mean():.1%} | {(last == truth).mean():.1%}"
        f" | {((p - truth) ** 2).mean():.3f} | {(base * (1 - base)):.3f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
