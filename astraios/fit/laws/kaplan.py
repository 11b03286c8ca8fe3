"""L = ((Nc/N)^(aN/aD) + Dc/D)^aD: no irreducible loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter, spread
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Kaplan(ComposedLaw):
    """Parameters Nc, alpha_N, Dc, alpha_D."""

    def formula(self, theta: Array, x: Array) -> Jet:
        ratio = (raw(theta, 1) - raw(theta, 3)).exp()
        return raw(theta, 3).exp() * plus(ratio * (raw(theta, 0) - x[0]), raw(theta, 2) - x[1])

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """Scales at which each term alone would give the middle loss."""
        middle = float(np.median(log_loss))
        best = np.array([(middle - 0.1) / 0.08, np.log(0.08), (middle - 0.1) / 0.1, np.log(0.1)])
        return np.clip(spread(best, np.array([6.0, 0.8, 6.0, 0.8]), rng, starts), *self.bounds())

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 0] += centre[0]
        moved[..., 2] += centre[1]
        return moved


kaplan = Kaplan(
    name="kaplan",
    title="Kaplan (size and data)",
    parameters=(
        Parameter("Nc", "size at which the size term alone gives 1 nat", "scale", "parameters", input="n_params"),
        Parameter("alpha_N", "exponent of size", "exponent", low=1e-3, high=5, input="n_params"),
        Parameter("Dc", "data at which the data term alone gives 1 nat", "scale", "tokens", input="n_tokens"),
        Parameter("alpha_D", "exponent of data", "exponent", low=1e-3, high=5, input="n_tokens"),
    ),
    inputs=("n_params", "n_tokens"),
    latex=r"L(N, D) = \left[(N_c / N)^{\alpha_N / \alpha_D} + D_c / D\right]^{\alpha_D}",
    citation="Kaplan et al. (2020), Scaling laws for neural language models, eq. 1.5",
)
