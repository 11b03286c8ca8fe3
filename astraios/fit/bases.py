"""What runs on one base model have in common: its deviation from other bases of its size, estimated and set apart.

Methods that are tuned on the same bases share the luck of those bases. Left in, it looks like noise of every run and
hides differences between methods; taken out, differences are as sharp as their pairing, and the luck comes back where
it belongs: in common noise of all curves, and in the interval of a new run, which has a base of its own.

With one base a size, the usual case, luck can't be seen and has to be assumed. Its prior lies between what is known:
1.5 % between pretrainings of the tiny ladder, 0.1 to 0.5 % between public pretrainings of several seeds at 100 million
parameters and more. What the curve itself says of it is `astraios.fit.luck`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from astraios.errors import UsageError
from astraios.fit.observations import Bases, Ladder, Luck

ROUNDS = 30
BASE_NOISE = 0.009
"""Assumed spread of the log loss between bases of one size; few degrees of freedom give it long tails."""
BASE_FREEDOM = 3.0
MANY = 12
"""Sizes from which on the scatter around the curve shows luck as it shows any noise."""


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
    return Ladder(tuple(kept), ladder.quantity, found, Luck(found.spread, count))


def assume(ladder: Ladder, spread: float | None = None) -> Ladder:
    """The ladder with luck that can't be seen: of a given spread, or of the prior's; as it was where it has luck.

    Only for laws of size alone: where the data vary too, a size has many points and its luck is one of the errors that
    the rolling hold-outs show.

    Args:
        spread: standard deviation of the log loss between bases of one size; 0 for none.

    Raises:
        UsageError: a negative spread.
    """
    if spread is not None and not 0 <= spread < 1:
        raise UsageError(f"base noise {spread} is not a relative standard deviation: give 0.01 for 1 %, 0 for none")
    if ladder.luck is not None or spread == 0:
        return ladder
    size = np.round(ladder.column("n_params"), 6)
    levels = np.unique(size)
    if spread is None and len(levels) >= MANY:
        return ladder
    named = all(len(s.base) == len(s) and "" not in s.base for s in ladder.series)
    base = np.array([b for s in ladder.series for b in s.base]) if named else np.repeat("", len(size))
    count = {float(v): len(set(base[size == v])) for v in levels}
    if spread is not None:
        return replace(ladder, luck=Luck(spread, count, assumed=True, pull=1.0))
    return replace(ladder, luck=Luck(BASE_NOISE, count, BASE_FREEDOM, assumed=True, pull=1.0))
