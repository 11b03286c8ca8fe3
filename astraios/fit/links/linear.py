"""A straight line in the loss: enough over a short range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.links import Array, Parameter
from astraios.fit.links._index import IndexLink


@dataclass(frozen=True)
class Linear(IndexLink):
    """a + b z."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        z = np.broadcast_to(x[0], (len(theta), x.shape[-1]))
        return theta[:, :1] + theta[:, 1:2] * z, np.stack([np.ones_like(z), z], axis=1)

    def prior(self, level: float, chance: float, ceiling: float) -> tuple[Array, Array]:
        return np.array([level, 0.0]), np.array([0.5, 0.15])


linear = Linear(
    name="linear",
    title="Linear in the loss",
    parameters=(
        Parameter("a", "score at the mean loss", "shape", transform="identity", low=-2, high=3),
        Parameter("b", "score per spread of the loss", "shape", transform="identity", low=-3, high=3),
    ),
    latex=r"s = a + b z",
    citation="Zhuo et al. (2024), Astraios: parameter-efficient instruction tuning code large language models, sec. 6",
    anchored=False,
    far=4.0,
)
