"""The only optimiser: damped Newton steps for many problems at once.

Every start and every resample of a fit is one problem of a batch; a batch shares the law and the shapes, and each
problem has its own weights, observations, threshold and prior. The Hessian of the Huber objective is exact, so the
last steps converge quadratically; a Levenberg-Marquardt damping with lifted eigenvalues makes the first ones safe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from astraios.fit.curve import Array

Bools = NDArray[np.bool_]


class Model(Protocol):
    """What the optimiser needs of a law or a link (see `astraios.fit.laws.Law` for the shapes)."""

    def evaluate(self, theta: Array, x: Array) -> tuple[Array, Array]: ...

    def hessian(self, theta: Array, x: Array, jacobian: Array, outer: Array, curve: Array) -> Array: ...


@dataclass(frozen=True)
class Problems:
    """A batch of estimation problems: minimise sum_i w_i rho_delta(f_i - y_i) + prior.

    rho is Huber's function: r^2/2 up to |r| = delta, delta (|r| - delta/2) beyond. For a law f and y are log losses.
    Arrays have a leading axis of length 1 or of the number of problems.
    """

    model: Model
    x: Array
    """(inputs, points) or (inputs, problems, points)."""
    y: Array
    """(problems, points)."""
    weights: Array
    """(problems, points); a point of weight 0 is not there."""
    delta: Array
    """(problems, 1); infinity gives least squares."""
    prior_mean: Array
    """(problems, parameters)."""
    prior_precision: Array
    """(problems, parameters): adds precision/2 (theta - mean)^2 to the objective."""
    low: Array
    """(parameters,) bounds of theta."""
    high: Array
    linear: bool = False
    """Whether residuals are taken on the scale of the loss: exp(f) - y."""

    def take(self, rows: NDArray[np.intp]) -> Problems:
        """The problems of `rows` alone."""

        def pick(array: Array) -> Array:
            return array if len(array) == 1 else array[rows]

        x = self.x[:, rows] if self.x.ndim == 3 and self.x.shape[1] > 1 else self.x
        return replace(
            self, x=x, y=pick(self.y), weights=pick(self.weights), delta=pick(self.delta),
            prior_mean=pick(self.prior_mean), prior_precision=pick(self.prior_precision),
        )  # fmt: skip


@dataclass(frozen=True)
class Solution:
    """Where each problem ended, with the evidence that it is an optimum."""

    theta: Array
    """(problems, parameters)."""
    objective: Array
    """(problems,)."""
    decrement: Array
    """(problems,): what a further full Newton step promises, relative to the objective."""
    at_bound: Bools
    """(problems, parameters)."""
    converged: Bools
    iterations: int
    hessian: Array
    """(problems, parameters, parameters) at the optimum."""


@dataclass
class _State:
    """Objective and derivatives of each problem at its current point."""

    theta: Array
    value: Array
    gradient: Array
    hessian: Array


def _residual(problems: Problems, theta: Array) -> tuple[Array, Array, Array]:
    f, jacobian = problems.model.evaluate(theta, problems.x)
    if problems.linear:
        f = np.exp(f)
        jacobian = jacobian * f[:, None, :]
    return f, f - problems.y, jacobian


def _huber(residual: Array, delta: Array) -> tuple[Array, Array]:
    """rho and its derivative psi."""
    psi = np.clip(residual, -delta, delta)
    return psi * (residual - 0.5 * psi), psi


def _prior(problems: Problems, theta: Array) -> Array:
    return 0.5 * (problems.prior_precision * (theta - problems.prior_mean) ** 2).sum(1)


def _state(problems: Problems, theta: Array) -> _State:
    f, residual, jacobian = _residual(problems, theta)
    rho, psi = _huber(residual, problems.delta)
    value = np.einsum("...n,...n->...", problems.weights, rho) + _prior(problems, theta)
    push = problems.weights * psi
    pull = problems.prior_precision * (theta - problems.prior_mean)
    gradient = (jacobian @ push[..., None])[..., 0] + pull
    flat = problems.weights * (np.abs(residual) < problems.delta)
    if problems.linear:
        jacobian = jacobian / f[:, None, :]
        flat, push = flat * f * f + push * f, push * f
    hessian = problems.model.hessian(theta, problems.x, jacobian, flat, push)
    rows = np.arange(theta.shape[1])
    hessian[:, rows, rows] += problems.prior_precision
    return _State(theta, value, gradient, hessian)


def _step(state: _State, damping: Array, problems: Problems) -> tuple[Array, Array, Bools]:
    """Damped Newton step within the bounds, the promise of the full one, and which parameters are held at a bound."""
    theta, gradient = state.theta, state.gradient
    held = ((theta <= problems.low) & (gradient > 0)) | ((theta >= problems.high) & (gradient < 0))
    free = (~held).astype(float)
    size = np.abs(np.diagonal(state.hessian, axis1=1, axis2=2))
    scale = np.sqrt(np.maximum(size, 1e-12 * size.max(1, keepdims=True) + 1e-300))
    scaled = state.hessian / (scale[:, :, None] * scale[:, None, :]) * (free[:, :, None] * free[:, None, :])
    rows = np.arange(theta.shape[1])
    scaled[:, rows, rows] += 1 - free
    values, vectors = np.linalg.eigh(scaled)
    along = (vectors.transpose(0, 2, 1) @ (gradient * free / scale)[:, :, None])[..., 0]
    curvature = np.maximum(np.abs(values), 1e-11)
    step = -(vectors @ (along / (curvature + damping[:, None]))[:, :, None])[..., 0] / scale * free
    return step, (along**2 / curvature).sum(1), held


def minimise(problems: Problems, start: Array, max_iter: int = 200, rtol: float = 1e-13) -> Solution:
    """Minimise every problem of the batch from its row of `start` (problems, parameters).

    A problem is done when a full Newton step promises less than `rtol` of its objective, a number without units.
    """
    theta = np.clip(np.array(start, float), problems.low, problems.high)
    count = len(theta)
    final = _state(problems, theta)
    decrement, held = np.full(count, np.inf), np.zeros(theta.shape, bool)
    active, damping = np.arange(count), np.full(count, 1e-2)
    state, part = final, problems
    floor = np.broadcast_to(1e-20 * (problems.weights * (1 + problems.y**2)).sum(1) + 1e-300, (count,))
    for iteration in range(1, max_iter + 1):  # noqa: B007
        step, promise, bound = _step(state, damping[active], part)
        relative = promise / np.maximum(state.value, floor[active])
        decrement[active], held[active] = relative, bound
        trial = _state(part, np.clip(state.theta + step, part.low, part.high))
        good = np.isfinite(trial.value) & (trial.value <= state.value)
        for name in ("theta", "value", "gradient", "hessian"):
            old, new = getattr(state, name), getattr(trial, name)
            old = np.where(good.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            setattr(state, name, old)
            if state is not final:
                getattr(final, name)[active] = old
        damping[active] = np.where(good, damping[active] * 0.2, np.maximum(damping[active], 1e-6) * 8)
        keep = (relative > rtol) & (damping[active] < 1e9)
        if not keep.any():
            break
        if keep.mean() < 0.8:
            part = part.take(np.flatnonzero(keep))
            active = active[keep]
            state = _State(*(getattr(state, name)[keep] for name in ("theta", "value", "gradient", "hessian")))
    return Solution(final.theta, final.value, decrement, held, decrement <= 1e-8, iteration, final.hessian)
