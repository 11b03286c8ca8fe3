"""Minus the log of the score falls as a power of size or compute, exponentially in the loss: no floor but 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Parameter
from astraios.fit.links._index import IndexLink


@dataclass(frozen=True)
class NegLog(IndexLink):
    """u exp(-exp(-(a + b z))): with z the log of compute, -log(s / u) is a power law in compute."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z, high = x[0], x[2]
        left = np.exp(np.clip(-(theta[:, :1] + theta[:, 1:2] * z), -50, 50))
        score = high * np.exp(-left)
        slope = score * left
        return score, np.stack([slope, slope * z], axis=1)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        share = min(max(level / max(ceiling, 1e-9), 0.005), 0.995)
        return np.array([-np.log(-np.log(share)), 0.0]), np.array([1.5, 0.7])


neg_log = NegLog(
    name="neg_log",
    title="Power law of -log score",
    parameters=(
        Parameter("a", "minus the log of -log score at the middle", "shape", transform="identity", low=-10, high=10),
        Parameter("b", "its rise per spread of the data", "shape", transform="identity", low=-20, high=20),
    ),
    latex=r"-\log s = k\,C^{-\gamma}",
    citation="Hu et al. (2023), Predicting emergent abilities with infinite resolution evaluation (the form)",
    anchored=False,
    far=2.0,
    special=True,
)
