"""Ends of runs whose learning rate is known: the multi-power law, taught by finished runs.

L(t) = L0 (1 + a S(t)^-alpha - a rho sum_k (eta_{k-1} - eta_k) (1 - (1 + C eta_k^-gamma S_k(t))^-beta)), where S is the
sum of the rates so far and S_k that since the rate fell the k-th time (Luo et al., 2025, arXiv:2503.12811, eq. 3; its B
is written as a share rho of the power's amplitude, so that what a decay is worth goes with the curve). Without a decay
it is a power of S, its simpler kin. Rates are counted in the runs' typical peak, S in their typical sum.

Runs of one kind (a size, a method, a data set) share their parameters but for small deviations; a kind of which nothing
has finished begins from the others. Late points speak most, for no law holds over a whole run. The interval is a
Student's t of what the same procedure, cut at the same share, makes of runs that have finished.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from astraios.fit.curve import Array

POINTS, LATE = 40, 3.0
"""Losses of each run that are used, evenly spaced in S, and the power of S that they are weighed with."""
DROPS = 48
"""Falls of the rate that a schedule is gathered into."""
NOISE = 0.003
"""Relative misfit of a point that is expected of the law."""
NAMES = ("L0", "a", "alpha", "rho", "C", "beta", "gamma")
BEGIN = np.log([0.85, 0.1, 0.5, 0.7, 30.0, 0.7, 0.7])
WIDTH = np.array([0.3, 1.5, 0.5, 1.0, 2.0, 0.5, 0.7])
"""Logs of the parameters before anything has finished (L0 in units of the smallest loss), and their deviations."""
SAME = np.array([0.005, 0.03, 0.03, 0.05, 0.0, 0.0, 0.0])
"""Deviations, in logs, of a run from others of its kind."""
OTHER = np.array([0.3, 0.5, 0.1, 0.15, 0.1, 0.05, 0.05])
"""Deviations between kinds: levels are free, the shape and what a decay is worth are nearly shared."""
FORM, FORM_FREEDOM = 0.005, 4.0
"""Relative error of an end, and its degrees of freedom, where fewer than two finished runs show one."""
PEAK = 0.99
"""Share of its peak at which a rate has not begun to fall."""


@dataclass(frozen=True)
class Curve:
    """One run: its rates to the planned end, and its losses so far."""

    run_id: str
    kind: str
    step: Array
    """Steps of the losses, ascending."""
    log_loss: Array
    end: float
    """The last planned step."""
    s: Array
    """Sum of the rates at each loss, in the typical sum."""
    s_end: float
    drop: Array
    """Falls of the rate, in the typical peak; a rise counts negative."""
    rate: Array
    """Rate after each, likewise."""
    at: Array
    """Sum of the rates at each."""
    waiting: bool
    """Whether the rate stands at its peak and is still to fall."""

    @property
    def done(self) -> bool:
        """Whether the last loss is that of the planned end."""
        return bool(self.step[-1] >= self.end)

    @property
    def falls(self) -> bool:
        """Whether its rate falls by more than a tenth of the peak."""
        return bool(self.drop.sum() > 0.1)

    def until(self, step: float) -> Curve:
        """What was known of it at a step."""
        seen = self.step <= step
        return Curve(
            self.run_id, self.kind, self.step[seen], self.log_loss[seen], self.end, self.s[seen], self.s_end, self.drop,
            self.rate, self.at, self.waiting,
        )  # fmt: skip

    def thin(self) -> Curve:
        """So many losses, evenly spaced in S."""
        wanted = np.linspace(self.s[0], self.s[-1], POINTS)
        kept = np.unique(np.abs(self.s[:, None] - wanted).argmin(0))
        return Curve(
            self.run_id, self.kind, self.step[kept], self.log_loss[kept], self.end, self.s[kept], self.s_end, self.drop,
            self.rate, self.at, self.waiting,
        )  # fmt: skip

    @property
    def weight(self) -> Array:
        """Roots of the points' weights."""
        weight = (self.s / self.s[-1]) ** LATE
        return np.asarray(np.sqrt(weight * POINTS / weight.sum()))

    def predict(self, theta: Array, s: Array) -> Array:
        """Log losses at sums of the rates."""
        floor, a, alpha, rho, c, beta, gamma = np.exp(np.clip(theta, -50, 50))
        gap = np.maximum(s[:, None] - self.at, 0.0)
        worth = self.drop * (1 - (1 + c * self.rate**-gamma * gap) ** -beta)
        return np.log(np.maximum(floor * (1 + a * s**-alpha - a * rho * worth.sum(1)), 1e-9))

    def last(self, theta: Array) -> float:
        """Log loss at the planned end."""
        return float(self.predict(theta, np.array([self.s_end]))[0])


@dataclass(frozen=True)
class Schedule:
    """A run as it was told: steps with rates, and losses at some of them."""

    run_id: str
    kind: str
    rate_step: Array
    rate: Array
    step: Array
    loss: Array


@dataclass(frozen=True)
class End:
    """Where one run would end."""

    run_id: str
    mean: float
    low: float
    high: float
    waiting: bool
    """Whether a decay of the rate is still to begin."""
    taught_by: int
    """Finished runs that the interval was learnt from."""


def curves(runs: Sequence[Schedule], warm_up: float = 0.1) -> list[Curve]:
    """Runs with their schedules gathered; losses of the warm-up are left out.

    Args:
        runs: with rates to their planned ends, above 0 somewhere.
        warm_up: share of the steps at the beginning that no curve is fitted to, where the peak comes no later.
    """
    sums = [_sums(run) for run in runs]
    unit = float(np.median([run.rate.max() for run in runs]))
    total = float(np.median([s[-1] for _, _, s in sums]))
    found = []
    for run, (step, rate, s) in zip(runs, sums, strict=True):
        peak = int(np.argmax(rate > PEAK * rate.max()))
        drop, after, at = _drops(rate[peak:], s[peak:])
        used = run.step >= max(step[peak], warm_up * step[-1])
        seen = run.step[used][-1] if used.any() else 0.0
        now = float(np.interp(seen, step, rate))
        waiting = now >= PEAK * rate.max() and rate[step > seen].min(initial=np.inf) < 0.9 * rate.max()
        found.append(
            Curve(
                run.run_id, run.kind, run.step[used], np.log(run.loss[used]), float(step[-1]),
                np.interp(run.step[used], step, s) / total, float(s[-1] / total), drop / unit,
                np.maximum(after / unit, 1e-4), at / total, waiting,
            )
        )  # fmt: skip
    return [one for one in found if len(one.step) >= 3]


def _sums(run: Schedule) -> tuple[Array, Array, Array]:
    """A fine grid of steps with rates and their sum; before the first rate it is taken as that one."""
    step = np.unique(np.concatenate([[0.0], run.rate_step, np.linspace(0, run.rate_step[-1], 400)]))
    rate = np.interp(step, run.rate_step, run.rate)
    s = np.concatenate([[0.0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(step))])
    return step, rate, s


def _drops(rate: Array, s: Array) -> tuple[Array, Array, Array]:
    """Falls, rates after them and sums of the rates at them, gathered into a few."""
    fall = rate[:-1] - rate[1:]
    on = np.abs(fall) > 1e-9 * rate.max()
    fall, after, at = fall[on], rate[1:][on], 0.5 * (s[1:] + s[:-1])[on]
    if len(fall) <= DROPS:
        return fall, after, at
    part = np.arange(len(fall)) * DROPS // len(fall)
    size = np.bincount(part, np.abs(fall))
    gathered = [np.bincount(part, np.abs(fall) * values) / size for values in (after, at)]
    return np.bincount(part, fall).astype(float), gathered[0], gathered[1]


@dataclass(frozen=True)
class _Fit:
    theta: Array
    covariance: Array


def _fit(runs: Sequence[Curve], centre: Array, covariance: Array, start: Array | None = None) -> _Fit:
    """Parameters of runs that share them, from a normal prior."""
    whiten = np.linalg.cholesky(np.linalg.inv(covariance + 1e-8 * np.eye(len(centre)))).T
    thin = [one.thin() for one in runs]

    def residual(theta: Array) -> Array:
        parts = [(one.predict(theta, one.s) - one.log_loss) * one.weight / NOISE for one in thin]
        return np.concatenate([*parts, whiten @ (theta - centre)])

    found = optimize.least_squares(residual, centre if start is None else start, x_scale=0.1, max_nfev=60)
    return _Fit(found.x, np.linalg.inv(found.jac.T @ found.jac))


def _first(runs: Sequence[Curve]) -> Array:
    """The prior's centre: its floor in units of the smallest loss."""
    return BEGIN + np.eye(len(BEGIN))[0] * min(one.log_loss.min() for one in runs)


def _of_kind(runs: Sequence[Curve], start: Array | None = None) -> _Fit:
    return _fit(runs, _first(runs), np.diag(WIDTH**2), start)


@dataclass(frozen=True)
class _Forecast:
    log_end: float
    variance: float
    """From the parameters."""


def _forecast(run: Curve, taught: _Fit | None, spread: Array) -> _Forecast:
    """The end of one run from its own losses and what others taught."""
    centre = _first([run]) if taught is None else taught.theta
    covariance = np.diag(WIDTH**2) if taught is None else np.diag(spread**2) + taught.covariance
    if taught is not None and spread is OTHER:
        centre = centre + np.eye(len(centre))[0] * (run.log_loss.min() - run.predict(taught.theta, run.s).min())
    own = _fit([run], centre, covariance)
    steps = 1e-4 * np.eye(len(centre))
    slope = np.array([(run.last(own.theta + step) - run.last(own.theta - step)) / 2e-4 for step in steps])
    return _Forecast(run.last(own.theta), float(slope @ own.covariance @ slope))


def _errors(finished: Sequence[Curve], share: float, all_of_them: _Fit) -> list[float]:
    """What the procedure makes of finished runs of a kind, cut at a share of their steps: log errors of their ends."""
    found = []
    for run in finished:
        others = [one for one in finished if one is not run]
        early = run.until(share * run.end)
        if others and len(early.step) >= 3:
            taught = _of_kind(others, all_of_them.theta)
            found.append(_forecast(early, taught, SAME).log_end - float(run.log_loss[-1]))
    return found


def ends(runs: Sequence[Curve], level: float = 0.9) -> list[End]:
    """Where runs end: those that are done where they did, the others with an interval for their last loss.

    Args:
        runs: of one or several kinds.
        level: of the intervals.
    """
    kinds: dict[str, list[Curve]] = {}
    for run in runs:
        if run.done:
            kinds.setdefault(run.kind, []).append(run)
    fits = {kind: _of_kind(members) for kind, members in kinds.items()}
    known: dict[tuple[str, float], list[float]] = {}
    found = []
    for run in runs:
        if run.done:
            last = float(np.exp(run.log_loss[-1]))
            found.append(End(run.run_id, last, last, last, False, 0))
            continue
        teachers = [run.kind] if run.kind in fits else list(fits)
        taught = _mean([fits[kind] for kind in teachers])
        share = round(float(run.step[-1] / run.end), 2)
        for kind in teachers:
            if (kind, share) not in known:
                known[kind, share] = _errors(kinds[kind], share, fits[kind])
        errors = np.array([error for kind in teachers for error in known[kind, share]])
        here = _forecast(run, taught, SAME if run.kind in fits else OTHER)
        scale, freedom = (
            (float(np.sqrt(np.mean(errors**2))), float(len(errors))) if len(errors) > 1 else (FORM, FORM_FREEDOM)
        )
        # What finished runs of its own kind show holds the parameters' uncertainty already.
        own_kind = run.kind in fits and len(errors) > 1 and (run.falls <= any(one.falls for one in kinds[run.kind]))
        variance = scale**2 * (1 + 1 / max(len(errors), 1)) + (0.0 if own_kind else here.variance)
        half = float(stats.t.ppf((1 + level) / 2, freedom)) * np.sqrt(variance)
        found.append(
            End(
                run.run_id, float(np.exp(here.log_end)), float(np.exp(here.log_end - half)),
                float(np.exp(here.log_end + half)), run.waiting, len(errors),
            )
        )  # fmt: skip
    return found


def _mean(fits: Sequence[_Fit]) -> _Fit | None:
    """What several kinds teach a new one."""
    if not fits:
        return None
    thetas = np.stack([fit.theta for fit in fits])
    between = np.cov(thetas.T, ddof=0) if len(fits) > 1 else np.zeros((len(NAMES), len(NAMES)))
    return _Fit(thetas.mean(0), np.mean([fit.covariance for fit in fits], axis=0) + between)
