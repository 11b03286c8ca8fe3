"""Laws that are a sum of powers: loss = sum_k exp(a_k - sum_j alpha_kj x_j), with exact second derivatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from astraios.fit.laws import Array, Law, spread

PULL = 3e-3
"""Weight of the pull in the starts, against one mean squared relative residual."""


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
        logs = []
        for amplitude, powers in self.terms:
            log = theta[:, amplitude, None]
            for row, k in powers:
                log = log - self._exponent(theta, k) * x[row]
            logs.append(log)
        top = logs[0]
        for log in logs[1:]:
            top = np.maximum(top, log)
        parts = [np.exp(log - top) for log in logs]
        total = sum(parts[1:], start=parts[0])
        value = top + np.log(total)
        return value, [part / total for part in parts]

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]:
        value, shares = self._shares(theta, x)
        gradient = np.zeros((len(theta), len(self.parameters), value.shape[1]))
        for (amplitude, powers), share in zip(self.terms, shares, strict=True):
            gradient[:, amplitude] += share
            for row, k in powers:
                gradient[:, k] -= self._slope(theta, k) * x[row] * share
        return np.broadcast_to(value, (len(theta), value.shape[1])), gradient

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array:
        total = (jacobian * (outer - curve)[:, None, :]) @ jacobian.transpose(0, 2, 1)
        _, shares = self._shares(theta, x) if self._repeats() else (None, None)
        for index, (amplitude, powers) in enumerate(self.terms):
            weighted = curve * (jacobian[:, amplitude] if shares is None else shares[index])
            total[:, amplitude, amplitude] += weighted.sum(1)
            steps = [-self._slope(theta, k) * x[row] for row, k in powers]
            for (_, k), step in zip(powers, steps, strict=True):
                first = (weighted * step).sum(1)
                total[:, amplitude, k] += first
                total[:, k, amplitude] += first
                if self.parameters[k].transform == "log":
                    total[:, k, k] += first
                for (_, j), other in zip(powers, steps, strict=True):
                    total[:, k, j] += (weighted * step * other).sum(1)
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
