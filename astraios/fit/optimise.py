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

    def take(self, rows: NDArray[np.intp] | slice) -> Problems:
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


FEW = 32
"""Problems up to which a call of LAPACK for each costs less than elimination for all at once."""
CELLS = 16384
"""Problems times points that are worked on at once, so that a batch stays in the cache."""
np.empty(2**21)
# Until a large block was freed once, glibc gives every freed megabyte back to the system and asks for it again.


def _state(problems: Problems, theta: Array) -> _State:
    """Objective and derivatives, in chunks of the batch."""
    each = max(1, CELLS // problems.y.shape[-1])
    if len(theta) < 2 * each:
        return _derive(problems, theta)
    parts = [_derive(problems.take(slice(i, i + each)), theta[i : i + each]) for i in range(0, len(theta), each)]
    names = ("value", "gradient", "hessian")
    return _State(theta, *(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _derive(problems: Problems, theta: Array) -> _State:
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
    size = np.abs(np.diagonal(state.hessian, axis1=1, axis2=2))
    scale = np.sqrt(np.maximum(size, 1e-12 * size.max(1, keepdims=True) + 1e-300))
    scaled, push = state.hessian / (scale[:, :, None] * scale[:, None, :]), gradient / scale
    if held.any():
        free = (~held).astype(float)
        rows = np.arange(theta.shape[1])
        scaled *= free[:, :, None] * free[:, None, :]
        scaled[:, rows, rows] += 1 - free
        push *= free
    step, promise, bad = np.empty_like(push), np.empty(len(push)), np.ones(len(push), bool)
    if len(push) > FEW:
        full, sound = _solve(scaled, push, 0.0)
        step, _ = _solve(scaled, push, damping)
        promise, bad = (full * push).sum(1), ~sound
    if bad.any():
        values, vectors = np.linalg.eigh(scaled[bad])
        along = (vectors.transpose(0, 2, 1) @ push[bad][:, :, None])[..., 0]
        curvature = np.maximum(np.abs(values), 1e-11)
        step[bad] = (vectors @ (along / (curvature + damping[bad, None]))[:, :, None])[..., 0]
        promise[bad] = (along**2 / curvature).sum(1)
    return -step / scale, promise, held


def _solve(matrices: Array, right: Array, ridge: Array | float) -> tuple[Array, Bools]:
    """Solutions of (M + ridge) x = b, (problems, k), and where M + ridge is safely positive.

    Elimination without pivots, each step for all problems at once: for the few parameters of a law that is many times
    faster than a call for each problem.
    """
    a = matrices.transpose(1, 2, 0).copy()
    b = right.T.copy()
    k = len(b)
    for i in range(k):
        a[i, i] += ridge
    sound = np.ones(b.shape[1], bool)
    for i in range(k):
        good = a[i, i] > 1e-9
        sound &= good
        pivot = 1.0 / np.where(good, a[i, i], 1.0)
        for j in range(i + 1, k):
            factor = a[i, j] * pivot
            a[j, j:] -= factor * a[i, j:]
            b[j] -= factor * b[i]
        b[i] *= pivot
        a[i, i + 1 :] *= pivot
    for i in range(k - 2, -1, -1):
        b[i] -= (a[i, i + 1 :] * b[i + 1 :]).sum(0)
    return b.T.copy(), sound


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


def inverse_of(hessian: Array, precision: Array) -> Array:
    """Inverse of each Hessian, (problems, parameters, parameters): nothing is known less than the prior has it.

    Where the points leave a direction open, and next to a kink of Huber's function or a saddle, the curvature of their
    part may be nothing or negative; then the prior's is all there is.

    Args:
        hessian: of the objective, with the prior's part in it.
        precision: of the prior, (problems, parameters); 0 where there is none.
    """
    size = np.abs(np.diagonal(hessian, axis1=1, axis2=2)).max(1, keepdims=True)
    scale = np.sqrt(np.maximum(precision, 1e-12 * size + 1e-300))
    values, vectors = np.linalg.eigh(hessian / (scale[:, :, None] * scale[:, None, :]))
    vectors = vectors / scale[:, :, None]
    return (vectors / np.maximum(values, 1.0)[:, None, :]) @ vectors.transpose(0, 2, 1)


SMOOTH, TRIES = 0.1, 25
"""Huber threshold and most steps of the first pass of `search`."""


def search(problems: Problems, starts: Array, max_iter: int = 200, rtol: float = 1e-13) -> tuple[Solution, Array]:
    """The best optimum of each problem over many starts (problems, starts, parameters), and how many starts agree.

    The first pass widens the threshold: with few points in the quadratic part of Huber's function the objective is a
    landscape of kinks, which Newton steps cross slowly. Starts that meet are one from then on; those that have not
    arrived after `TRIES` steps and are not among the two best of their problem are given up and count as not agreeing.

    Returns:
        The solution, and the share of starts within 1e-6 of the best objective, (problems,).
    """
    count, each, k = starts.shape
    owner = np.repeat(np.arange(count), each)
    first = problems.take(owner) if count > 1 else problems
    found = minimise(replace(first, delta=np.maximum(first.delta, SMOOTH)), starts.reshape(-1, k), TRIES, 1e-5)
    place = np.argsort(np.argsort(found.objective.reshape(count, each), axis=1), axis=1).ravel()
    rows = np.flatnonzero((found.decrement <= 1e-3) | (place < 2))
    _, kept, member = np.unique(
        np.column_stack([owner[rows], np.round(found.theta[rows], 2)]), axis=0, return_index=True, return_inverse=True
    )
    kept = rows[kept]
    sharp = minimise(problems.take(owner[kept]) if count > 1 else problems, found.theta[kept], max_iter, rtol)
    value = np.full(count * each, np.inf)
    value[rows] = sharp.objective[member.ravel()]
    best = value.reshape(count, each).min(1)
    agree = (value.reshape(count, each) <= best[:, None] * (1 + 1e-6) + 1e-300).mean(1)
    chosen = [np.flatnonzero(owner[kept] == g) for g in range(count)]
    rows = np.array([mine[sharp.objective[mine].argmin()] for mine in chosen])
    return Solution(
        sharp.theta[rows], sharp.objective[rows], sharp.decrement[rows], sharp.at_bound[rows], sharp.converged[rows],
        sharp.iterations, sharp.hessian[rows],
    ), agree  # fmt: skip
