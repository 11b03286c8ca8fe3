"""Weak priors in transformed parameters, relative to each series' own scale.

They matter where the data are few (three sizes, three parameters) and fade as sigma^2/n does. Exponents: the published
ones of language models lie between 0.1 and 0.8 once an irreducible loss is fitted (Hoffmann et al., 2022: 0.34, 0.28;
Besiroglu et al., 2024: 0.35, 0.37; Muennighoff et al., 2023: 0.35, 0.35), below 0.2 without one (Kaplan et al., 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Law
from astraios.fit.quantities import quantity as quantity_of

NOISE = 0.003
"""Typical relative noise of a loss between seeds, with misfit; worth `NOISE_WEIGHT` degrees of freedom."""
NOISE_WEIGHT = 2.0


@dataclass(frozen=True)
class Prior:
    """Independent normals: anchor (series, parameters) moves with a series' scale, `scale` (parameters,) does not."""

    anchor: Array
    scale: Array


def weak(law: Law, y: Array, weights: Array, quantity: str = "nats") -> Prior:
    """The prior of each series; `y` log losses (series, points), `weights` 0 where there is no point."""
    kind = quantity_of(quantity)
    has_floor = any(p.role == "floor" for p in law.parameters)
    terms = max(1, sum(p.role == "amplitude" for p in law.parameters))
    masked = np.where(weights > 0, y, np.nan)
    smallest, middle = np.exp(np.nanmin(masked, axis=1)), np.exp(np.nanmedian(masked, axis=1))
    excess = np.maximum(middle - kind.floor * smallest * has_floor, 1e-3 * middle) / terms
    anchor, scale = np.zeros((len(y), len(law.parameters))), np.zeros(len(law.parameters))
    for k, parameter in enumerate(law.parameters):
        if parameter.role == "floor":
            anchor[:, k], scale[k] = np.log(kind.floor * smallest), kind.width
        elif parameter.role == "amplitude":
            anchor[:, k], scale[k] = np.log(excess), 1.5
        elif parameter.role == "exponent" and parameter.transform == "log":
            anchor[:, k], scale[k] = np.log(0.35), 0.6
        elif parameter.role in ("shift", "mixing"):
            anchor[:, k], scale[k] = 0.0, 0.3
        elif parameter.role == "exponent":
            anchor[:, k], scale[k] = 0.08, 0.15
        elif parameter.transform == "log":
            anchor[:, k], scale[k] = 0.0, 1.5
        else:
            anchor[:, k], scale[k] = 0.0, 1.0
    return Prior(anchor, scale)
