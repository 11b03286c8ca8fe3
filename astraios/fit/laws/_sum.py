"""Laws that are a sum of powers: loss = sum_k exp(a_k - sum_j alpha_kj x_j), with exact second derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Law, spread

PULL = 3e-3
"""Weight of the pull in the starts, against one mean squared relative residual."""


HUGE = 600.0
"""Log of a loss beyond which a term no longer grows: such steps are never taken."""


def _moments(weights: Array, rows: list[Array]) -> Array:
    """sum_i w_i v_i v_i' for v = (1, rows...), (problems, rows + 1, rows + 1)."""
    if rows[0].ndim == 1:
        design = np.stack([np.ones_like(rows[0]), *rows])
        count = len(design)
        products = (design[:, None] * design[None]).reshape(count * count, -1)
        return (weights @ products.T).reshape(-1, count, count)
    many = np.stack([np.ones_like(rows[0]), *rows], axis=1)
    return (many * weights[:, None]) @ many.transpose(0, 2, 1)


@dataclass(frozen=True)
class SumLaw(Law):
    """A sum of terms, each an amplitude times negative powers of inputs.

    `terms` holds, for each term, the index of its amplitude and (input, parameter) pairs for its exponents.
    """

    terms: tuple[tuple[int, tuple[tuple[int, int], ...]], ...] = ()

    def _slope(self, theta: Array, k: int) -> Array:
        """d alpha / d theta_k: alpha itself where the exponent is in log form."""
        return np.exp(theta[:, k, None]) if self.parameters[k].transform == "log" else np.ones((len(theta), 1))

    def _exponent(self, theta: Array, k: int) -> Array:
        return np.exp(theta[:, k, None]) if self.parameters[k].transform == "log" else theta[:, k, None]

    def _shares(self, theta: Array, x: Array) -> tuple[Array, list[Array]]:
        """Log loss and the share of each term in the loss."""
        parts = []
        for amplitude, powers in self.terms:
            log = theta[:, amplitude, None]
            for row, k in powers:
                log = log - self._exponent(theta, k) * x[row]
            parts.append(np.exp(np.minimum(log, HUGE)))
        total = np.maximum(sum(parts[1:], start=parts[0]), 1e-300)
        inverse = 1.0 / total
        return np.log(total), [part * inverse for part in parts]

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        value, shares = self._shares(theta, x)
        gradient = np.empty((len(theta), len(self.parameters), value.shape[1]))
        seen: set[int] = set()
        for (amplitude, powers), share in zip(self.terms, shares, strict=True):
            self._put(gradient, amplitude, share, seen)
            for row, k in powers:
                self._put(gradient, k, share * (x[row] * -self._slope(theta, k)), seen)
        return value, gradient

    @staticmethod
    def _put(gradient: Array, k: int, values: Array, seen: set[int]) -> None:
        if k in seen:
            gradient[:, k] += values
        else:
            gradient[:, k] = values
            seen.add(k)

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        total = (jacobian * (outer - curve)[:, None, :]) @ jacobian.transpose(0, 2, 1)
        _, shares = self._shares(theta, x) if self._repeats() else (None, None)
        for index, (amplitude, powers) in enumerate(self.terms):
            weighted = curve * (jacobian[:, amplitude] if shares is None else shares[index])
            if not powers:
                total[:, amplitude, amplitude] += weighted.sum(1)
                continue
            columns = [amplitude, *(k for _, k in powers)]
            scale = np.hstack([np.ones((len(theta), 1)), *(-self._slope(theta, k) for _, k in powers)])
            moments = _moments(weighted, [x[row] for row, _ in powers])
            block = moments * scale[:, :, None] * scale[:, None, :]
            for j, (_, k) in enumerate(powers, start=1):
                if self.parameters[k].transform == "log":
                    block[:, j, j] += moments[:, 0, j] * scale[:, j]
            total[:, np.array(columns)[:, None], np.array(columns)[None, :]] += block
        return total

    def _repeats(self) -> bool:
        amplitudes = [amplitude for amplitude, _ in self.terms]
        return len(set(amplitudes)) < len(amplitudes)

    def guess(self, x: Array, log_loss: Array, rng: np.random.Generator, starts: int) -> Array:
        """Exponents of 0.35 (0.1 without a floor), then random ones; amplitudes by linear least squares given those.

        The loss is linear in its amplitudes, so a start needs luck in the exponents alone. A slight pull towards
        equal shares keeps the amplitudes positive.
        """
        floored = any(not powers for _, powers in self.terms)
        best, width = np.zeros(len(self.parameters)), np.zeros(len(self.parameters))
        for k, parameter in enumerate(self.parameters):
            if parameter.role == "exponent":
                best[k] = float(parameter.forward(0.35 if floored else 0.1))
                width[k] = 1.5 if parameter.transform == "log" else 0.3
            elif parameter.role == "mixing":
                width[k] = 0.3
        theta = spread(best, width, rng, starts)
        amplitudes = [amplitude for amplitude, _ in self.terms]
        logs = np.zeros((starts, len(self.terms), x.shape[1]))
        for row, (_, powers) in enumerate(self.terms):
            for column, k in powers:
                logs[:, row] -= self._exponent(theta, k) * x[column]
        design = np.exp(np.clip(logs, -50, 50)) / np.exp(log_loss)
        mean = np.maximum(design.mean(2), 1e-30)
        count = len(self.terms) - floored
        share = np.array([0.6 if not powers else (0.4 if floored else 1.0) / count for _, powers in self.terms])
        gram = design @ design.transpose(0, 2, 1) / x.shape[1]
        rows = np.arange(len(self.terms))
        gram[:, rows, rows] += PULL * mean**2
        solved = np.linalg.solve(gram, (mean + PULL * mean * share)[..., None])[..., 0]
        theta[:, amplitudes] = np.log(np.maximum(solved * mean, 0.05) / mean)
        return np.clip(theta, *self.bounds())

    def uncentre(self, theta: Array, centre: Array) -> Array:
        moved = np.array(theta, float)
        for amplitude, powers in self.terms:
            for row, k in powers:
                exponent = self.parameters[k].backward(theta[..., k])
                moved[..., amplitude] = moved[..., amplitude] + exponent * centre[row]
        return moved
