"""L = E + A N^-alpha exp(sum_j t_j r_j): a domain's loss by the shares of domains in the training data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Parameter, spread
from astraios.fit.laws._composed import ComposedLaw
from astraios.fit.laws._jet import Jet, plus, raw


@dataclass(frozen=True)
class Mixing(ComposedLaw):
    """Parameters E, A, alpha and a strength for each share; shares are not centred."""

    def centre(self, means: Array) -> Array:
        return np.concatenate([means[:1], np.zeros(len(means) - 1)])

    def formula(self, theta: Array, x: Array) -> Jet:
        power = raw(theta, 1) - raw(theta, 2).exp() * x[0]
        for j in range(1, len(self.inputs)):
            power = power + raw(theta, 2 + j) * np.exp(np.minimum(x[j], 0.0))
        return plus(raw(theta, 0), power)

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """As for a power law with a floor, shares without effect."""
        smallest, middle = float(np.exp(log_loss.min())), float(np.exp(np.median(log_loss)))
        shares = len(self.inputs) - 1
        best = np.array([np.log(0.6 * smallest), np.log(middle - 0.6 * smallest), np.log(0.35), *[0.0] * shares])
        return np.clip(spread(best, np.array([0.5, 0.7, 0.7, *[1.0] * shares]), rng, starts), *self.bounds())

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        moved[..., 1] = moved[..., 1] + np.exp(theta[..., 2]) * centre[0]
        return moved


def _of(count: int) -> Mixing:
    names = ["share"] if count == 1 else [f"share_{j}" for j in range(1, count + 1)]
    strengths = [
        Parameter(f"t_{j}" if count > 1 else "t", f"effect of {name} on the reducible loss", "shape",
                  transform="identity", low=-20, high=20)
        for j, name in enumerate(names, start=1)
    ]  # fmt: skip
    return Mixing(
        name="mixing" if count == 1 else f"mixing_{count}",
        title="Data mixing" if count == 1 else f"Data mixing, {count} shares",
        parameters=(
            Parameter("E", "irreducible loss", "floor", "nats", low=1e-6),
            Parameter("A", "reducible loss at N = 1 without any of the shares", "amplitude", "nats"),
            Parameter("alpha", "exponent of size", "exponent", low=5e-3, high=5, input="n_params"),
            *strengths,
        ),
        inputs=("n_params", *names),
        latex=r"L(N, r) = E + A N^{-\alpha} \exp\left(\sum_j t_j r_j\right)",
        citation="Ye et al. (2024), Data mixing laws, arXiv:2403.16952, eq. 7, with the size in its amplitude",
    )


mixing = _of(1)
mixing_2 = _of(2)
mixing_3 = _of(3)
mixing_4 = _of(4)
mixing_5 = _of(5)
