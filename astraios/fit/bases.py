"""What runs on one base model have in common: its deviation from other bases of its size, estimated and set apart.

Methods that are tuned on the same bases share the luck of those bases. Left in, it looks like noise of every run and
hides differences between methods; taken out, differences are as sharp as their pairing, and the luck comes back where
it belongs: in common noise of all curves, and in the interval of a new run, which has a base of its own.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astraios.fit.observations import Bases, Ladder

ROUNDS = 30


def set_apart(ladder: Ladder) -> Ladder:
    """The ladder with the deviations of its bases taken out, or as it was where no size has two bases.

    Log losses are a mean for each method and size, a random deviation of the base and a rest; both variances come from
    the data (EM), so that few bases are not trusted too far.
    """
    if len(ladder) < 2 or any(set(s.inputs) != {"n_params"} or len(s.base) != len(s) for s in ladder.series):
        return ladder
    base = np.array([b for s in ladder.series for b in s.base])
    level = np.round(ladder.column("n_params"), 6)
    shared = {b for b in set(base) if sum(b in s.base for s in ladder.series) > 1}
    count = {float(v): len(set(base[level == v])) for v in np.unique(level)}
    if "" in base or max(len(shared & set(base[level == v])) for v in np.unique(level)) < 2:
        return ladder
    y = np.concatenate([s.log_loss for s in ladder.series])
    series = np.repeat(np.arange(len(ladder)), [len(s) for s in ladder.series])
    cells, cell = np.unique(np.column_stack([series, level]), axis=0, return_inverse=True)
    names, which = np.unique(base, return_inverse=True)
    if len(y) <= len(cells) + len(names) - len(count):
        return ladder
    fixed, random = np.eye(len(cells))[cell.ravel()], np.eye(len(names))[which.ravel()]
    # With the cells' means projected out what remains is a ridge regression on the bases.
    centre = fixed / fixed.sum(0)
    left = random - centre @ (fixed.T @ random)
    target = y - centre @ (fixed.T @ y)
    gram, pull, free = left.T @ left, left.T @ target, len(y) - len(cells)
    between = within = max(float(target @ target) / free, 1e-12)
    effect = np.zeros(len(names))
    for _ in range(ROUNDS):
        inverse = np.linalg.inv(gram / within + np.eye(len(names)) / between)
        effect = inverse @ pull / within
        between = max(float(effect @ effect + np.trace(inverse)) / len(names), 1e-12)
        rest = target - left @ effect
        within = max(float(rest @ rest + np.trace(gram @ inverse)) / free, 1e-12)
    found = Bases(float(np.sqrt(between)), dict(zip(map(str, names), map(float, effect), strict=True)), count)
    kept = [replace(s, log_loss=s.log_loss - np.array([found.deviation[b] for b in s.base])) for s in ladder.series]
    return Ladder(tuple(kept), ladder.quantity, found)
