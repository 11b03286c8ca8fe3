"""Pairs of series put in the right order at the held-out sizes, and whether the probabilities are calibrated.

OMP_NUM_THREADS=1 python benchmarks/fit_ranking.py
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
from fit_common import HoldOut, cases, holdouts

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
    """One row a pair and point: is the first projected to be better, truth, the same at the largest known size, P(it is).

    Pairs are of series whose largest known size and data are the same, at hidden points that both have.
    """
    train, hidden = table.ladders()
    ensemble = build(candidates("auto", train), train)
    names = ensemble.ladder.names
    needed = list(dict.fromkeys(name for fit in ensemble.fits for name in fit.law.inputs))
    found, rows = {}, []
    for series in hidden.series:
        if series.name not in names:
            continue
        g = names.index(series.name)
        drawn = ensemble.project({n: np.tile(series.inputs[n], (len(names), 1)) for n in needed})
        places = [tuple(np.round(at, 6)) for at in zip(*(series.inputs[n] for n in needed), strict=True)]
        points = {at: (float(drawn.mean[g, i]), drawn.new[g, :, i], float(series.log_loss[i]))
                  for i, at in enumerate(places)}  # fmt: skip
        mine = next(one for one in train.series if one.name == series.name)
        spent = np.sum([mine.inputs[n] for n in needed], axis=0)
        last = float(mine.log_loss[spent >= spent.max() - 1e-6].mean())
        found[series.name] = (points, last, round(float(spent.max()), 3))
    for a, b in combinations(sorted(found), 2):
        (one, one_last, one_at), (two, two_last, two_at) = found[a], found[b]
        if one_at != two_at or (table.name == "finetune" and a.split()[-1] != b.split()[-1]):
            continue
        for at in sorted(set(one) & set(two)):
            (mean, draws, truth), (other, others, known) = one[at], two[at]
            rows.append([mean < other, truth < known, one_last < two_last, float((draws < others).mean())])
    return np.array(rows, float).reshape(-1, 4)


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
        [mean[a] > mean[b], truth[a] > truth[b], last[a] > last[b], float((new[a] > new[b]).mean())]
        for a, b in combinations(range(len(model.names)), 2)
    ]
    return np.array(rows, float), float(np.abs(mean - truth).mean()), float(np.abs(last - truth).mean())


def main() -> None:
    print("| table | pairs | ours in order | order at the largest known | Brier | always the base rate |")
    print("| --- | --- | --- | --- | --- | --- |")
    found: dict[str, list[np.ndarray]] = {}
    for table in (*holdouts().values(), *cases().values()):
        rows = pairs(table)
        if len(rows):
            found.setdefault(table.name.split("/")[0], []).append(rows)
    whole = {name: np.concatenate(parts) for name, parts in found.items()}
    for name, rows in whole.items():
        show(name, rows)
    show("all of them", np.concatenate(list(whole.values())))
    rows, error, carried = paper()
    show("the paper's mean score at 16B", rows)
    print(f"\nMean score at 16B: error {100 * error:.2f} points, carry-forward {100 * carried:.2f}.")


def show(name: str, rows: np.ndarray) -> None:
    """One line of the table."""
    ours, truth, last, p = rows.T
    base = truth.mean()
    print(
        f"| {name} | {len(p)} | {(ours == truth).sum()} ({(ours == truth).mean():.1%})"
        f" | {(last == truth).sum()} ({(last == truth).mean():.1%}) | {((p - truth) ** 2).mean():.4f}"
        f" | {(base * (1 - base)):.3f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
