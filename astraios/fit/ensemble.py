"""Several laws as one: weights from rolling hold-outs, draws from all of them, and what no law knows.

The last part is the form's own error. Its least size is taken from how badly the laws fit where there are data (the
noise sigma, which holds the misfit) and from the distance of the target: variance sigma^2 times the distance in natural
logarithms. The deviations of parameters, laws and form together are scaled as the ladder's own rolling hold-outs ask
(`astraios.fit.calibration`). Then the whole deviation of a draw is stretched by a factor of its own, so that deviations
follow a Student t: its freedom and scale are learnt on held-out sizes of real tables (calibration.toml says how).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from astraios.fit.bases import assume, set_apart
from astraios.fit.calibration import BENT, CALIBRATION, Lesson, Scale, kind
from astraios.fit.calibration import learn as learn_from
from astraios.fit.curve import Array
from astraios.fit.fitting import pool
from astraios.fit.laws import Law
from astraios.fit.luck import learn
from astraios.fit.observations import LITTLE, Ladder
from astraios.fit.pooling import PooledFit
from astraios.fit.quantities import quantity
from astraios.fit.weigh import Rolling, reach, roll, splits, weigh

DRAWS = 400
GRID = np.array([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0])
"""Distances beyond the largest size (log) at which differences between series are drawn to the last known ones."""
KEPT, BEYOND = 0.4, 0.5
"""Share of a difference that is the last known one's, and the distance from which on it is."""
SHARED = 0.7
"""Share of the form's error that all series have in common, where no rolling hold-out says."""


@dataclass(frozen=True)
class Draws:
    """Projections as draws, all in log loss."""

    mean: Array
    """(series, targets): weighted average of the laws' best estimates."""
    draws: Array
    """(series, draws, targets): the mean at the target, with parameter, law and form uncertainty."""
    new: Array
    """(series, draws, targets): one new run there."""

    def interval(self, level: float, new: bool = False) -> tuple[Array, Array]:
        """Lower and upper ends, as losses, (series, targets) each."""
        tail = (1 - level) / 2
        low, high = np.quantile(self.new if new else self.draws, [tail, 1 - tail], axis=1)
        return np.exp(np.minimum(low, self.mean)), np.exp(np.maximum(high, self.mean))


@dataclass(frozen=True)
class Ensemble:
    """Laws fitted to one ladder, ready to project."""

    ladder: Ladder
    fits: tuple[PooledFit, ...]
    rollings: tuple[Rolling, ...]
    weights: Array
    draws: tuple[Array, ...]
    """Parameters for each law: (series, its share of the draws, parameters)."""
    shared: float
    """Share of the form's error that all series have in common."""
    form: Array
    """(series, draws) standardised form error."""
    noise: Array
    """(series, draws) standardised noise of a new run, before `stretch`."""
    stretch: Array
    """(draws,) factor on every deviation."""
    sigma: float
    lesson: Lesson
    """What the rolling hold-outs say of width and lean; the factor is in `stretch` already, the bias is not."""
    order: Array
    """(series, distances of GRID): what draws each series' difference from the others towards the last known one."""

    @property
    def best(self) -> PooledFit:
        """The law with the largest weight."""
        return self.fits[int(np.argmax(self.weights))]

    @property
    def kind(self) -> str:
        """Kind of the ladder: sizes, data, or both."""
        return kind(list(dict.fromkeys(name for fit in self.fits for name in fit.law.inputs)))

    @property
    def expected_noise(self) -> float:
        """Of one point's log loss, as its series alone sees it."""
        return float(np.sqrt(np.sum(self.weights * np.array([fit.noise**2 for fit in self.fits]))))

    @property
    def scatter(self) -> float:
        """Noise of a run around its curve, with the luck of its size where one series can't tell them apart."""
        return float(np.sqrt(np.sum(self.weights * np.array([fit.scatter**2 for fit in self.fits]))))

    def _far(self, columns: dict[str, Array]) -> Array:
        """How far targets lie beyond the runs, (series, targets)."""
        count = len(next(iter(columns.values())))
        return np.stack([reach(self.ladder, {n: c[g] for n, c in columns.items()}) for g in range(count)])

    def _moved(self, far: Array) -> Array:
        """What is added to the laws' average: the lean that is taken off, and differences drawn to the last known."""
        drawn = np.stack([np.interp(f, GRID, o) for f, o in zip(far, self.order, strict=True)])
        return drawn - self.lesson.bias * np.sqrt(far)

    def between(self) -> Ensemble:
        """The same for differences between series.

        Curves of one ladder are wrong in their form alike; the factor beyond 1 and the tails that held-out tables ask
        for were learnt on the forms of single curves, while the noise's tails are in the draws of parameters; and a
        difference drawn to the last known one is a better loss and no curve.
        """
        narrower = min(self.lesson.factor * float(CALIBRATION["loss"][self.kind]["scale"]), 1.0)
        form = self.form.mean(0) / self.form.mean(0).std()
        return replace(
            self,
            form=np.tile(form, (len(self.form), 1)),
            stretch=np.full_like(self.stretch, narrower),
            order=0 * self.order,
        )

    def average(self, columns: dict[str, Array]) -> Array:
        """The laws' best estimates by their weights, (series, targets)."""
        means = []
        for fit in self.fits:
            x = np.stack([columns[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
            means.append(fit.log_predict(fit.theta[:, None], x)[:, 0])
        return np.tensordot(self.weights, np.stack(means), 1)

    def expected(self, columns: dict[str, Array]) -> Array:
        """The mean of `project` without its draws, (series, targets)."""
        return self.average(columns) + self._moved(self._far(columns))

    def laws_at(self, columns: dict[str, Array], g: int) -> Array:
        """Log losses of one series from parameters and laws alone, (draws, targets), in the order of the draws."""
        parts = []
        for fit, theta in zip(self.fits, self.draws, strict=True):
            if theta.shape[1]:
                x = np.stack([columns[name][g] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
                parts.append(fit.log_predict(theta[g : g + 1], x[:, None])[0])
        return np.concatenate(parts)

    def project(self, columns: dict[str, Array]) -> Draws:
        """Draws at targets given as log inputs, each (series, targets)."""
        far, mean, parts = self._far(columns), self.average(columns), []
        for fit, theta in zip(self.fits, self.draws, strict=True):
            if theta.shape[1]:
                x = np.stack([columns[name] - c for name, c in zip(fit.law.inputs, fit.centre, strict=True)])
                parts.append(fit.log_predict(theta, x))
        form = self.sigma * self.form[:, :, None] * np.sqrt(far)[:, None, :]
        off = np.concatenate(parts, axis=1) - mean[:, None, :] + form
        run = self.sigma * self.noise[:, :, None]
        stretch, mean = self.stretch[None, :, None], mean + self._moved(far)
        return Draws(mean, mean[:, None, :] + stretch * off, mean[:, None, :] + stretch * (off + run))


def build(
    laws: Sequence[Law],
    ladder: Ladder,
    estimator: str = "huber",
    seed: int = 0,
    count: int = DRAWS,
    base_noise: float | None = None,
) -> Ensemble:
    """Fit `laws` to all series, weigh them, and draw."""
    inputs = list(dict.fromkeys(name for law in laws for name in law.inputs))
    what, ladder = kind(inputs), set_apart(ladder.compact())
    if what == "sizes":
        ladder = assume(ladder, base_noise)
    if ladder.luck is not None and ladder.luck.assumed:
        ladder = learn(ladder, pool(laws[0], ladder, estimator, seed))
    ladder = _pulled(ladder, laws[0], inputs, estimator, seed)
    parts = splits(ladder, inputs)
    rollings = tuple(roll(law, parts, estimator, seed) for law in laws)
    fits = tuple(pool(one.law, ladder, estimator, seed, alone=one.alone) for one in rollings)
    weights = weigh(rollings, min(fit.noise for fit in fits), quantity(ladder.quantity).doubt)
    rng = np.random.default_rng(seed)
    shares = np.floor(weights * count).astype(int)
    shares[np.argmax(weights)] += count - shares.sum()
    luck = ladder.spreads(rng, count)
    draws = tuple(
        fit.draw(rng, mine) if len(mine) else np.empty((len(ladder), 0, len(fit.law.parameters)))
        for fit, mine in zip(fits, np.split(luck, np.cumsum(shares)[:-1]), strict=True)
    )
    sigma = float(np.sqrt(np.sum(weights * np.array([fit.sigma**2 for fit in fits]))))
    shared = _shared(rollings, weights, sigma)
    common, own = rng.standard_normal(count), rng.standard_normal((len(ladder), count))
    noise = rng.standard_normal((len(ladder), count))
    if ladder.luck is not None:
        # A new run has a base of its own, and methods tuned on one base share it.
        noise = noise + luck / sigma * rng.standard_normal(count)
    ensemble = Ensemble(
        ladder, fits, rollings, weights, draws, shared, np.sqrt(shared) * common + np.sqrt(1 - shared) * own,
        noise, np.ones(count), sigma, Lesson(1.0, 0.0), np.zeros((len(ladder), len(GRID))),
    )  # fmt: skip
    ensemble = calibrated(ensemble, Scale.of(what), seed)
    return replace(ensemble, order=_order(ensemble)) if what == "sizes" and len(ladder) > 1 else ensemble


def _pulled(ladder: Ladder, law: Law, inputs: Sequence[str], estimator: str, seed: int) -> Ladder:
    """The ladder with little pull of an assumed luck where rolling hold-outs that keep a bend are met better so.

    Luck that may be there is a reason to take a curve for the prior's; but where the levels foretell the next ones, how
    they bend is no luck.
    """
    luck = ladder.luck
    if luck is None or not luck.assumed or len(ladder) < 2:
        return ladder
    found = []
    for pull in (luck.pull, LITTLE):
        tried = replace(ladder, luck=replace(luck, pull=pull))
        parts = [part for part in splits(tried, inputs) if part.levels >= BENT]
        found.append((roll(law, parts, estimator, seed).pooled if parts else 0.0, tried))
    return min(found, key=lambda one: one[0])[1]


def noisier(ensemble: Ensemble, run_noise: float | None, seed: int = 0) -> Ensemble:
    """The same where single runs have more noise (in log loss) than points that are better known, tuned ones."""
    if run_noise is None or run_noise <= ensemble.sigma:
        return ensemble
    more = np.sqrt((run_noise / ensemble.sigma) ** 2 - 1) / ensemble.lesson.factor
    drawn = np.random.default_rng([seed, 2]).standard_normal(ensemble.noise.shape)
    return replace(ensemble, noise=ensemble.noise + more * drawn)


def calibrated(ensemble: Ensemble, scale: Scale, seed: int = 0) -> Ensemble:
    """The same with deviations as wide as its rolling hold-outs and `scale`, which other tables taught, ask for."""
    lesson = learn_from(ensemble.rollings, ensemble.weights, ensemble.expected_noise, ensemble.kind, scale)
    stretch = lesson.factor * stretched(scale, len(ensemble.stretch), seed)
    return replace(
        ensemble, lesson=lesson, stretch=stretch, noise=ensemble.noise * (ensemble.lesson.factor / lesson.factor)
    )


def _order(ensemble: Ensemble) -> Array:
    """How far projections are moved, (series, distances), so that differences between series keep to the last known.

    Every series that was run at the largest size is compared with their mean. What the curves make of a difference
    further out is mostly noise of the small sizes.
    """
    ladder = ensemble.ladder
    largest = ladder.column("n_params").max()
    last = [one.log_loss[one.inputs["n_params"] > largest - 1e-6] for one in ladder.series]
    known = np.array([len(v) > 0 and not one.rises for v, one in zip(last, ladder.series, strict=True)])
    if known.sum() < 2:
        return ensemble.order
    ends = np.array([values.mean() if len(values) else np.nan for values in last])
    curves = ensemble.project({"n_params": np.tile(largest + GRID, (len(ladder), 1))}).mean
    gap = (ends - ends[known].mean())[:, None] - (curves - curves[known].mean(0))
    return np.where(known[:, None], KEPT * np.minimum(GRID / BEYOND, 1.0) * gap, 0.0)


def stretched(scale: Scale, count: int, seed: int = 0) -> Array:
    """Factors that turn normal deviations into Student's, spread evenly over their distribution."""
    rng = np.random.default_rng([seed, 1])
    chi = np.sort(rng.chisquare(scale.freedom, (64, count)), axis=1).mean(0)
    return scale.scale * np.sqrt(scale.freedom / rng.permutation(chi))


def _shared(rollings: Sequence[Rolling], weights: Array, sigma: float) -> float:
    """How much of the average's rolling errors the series had in common."""
    common, own = 0.0, 0.0
    for s in range(len(rollings[0].reach)):
        errors = sum(w * r.errors[s] for w, r in zip(weights, rollings, strict=True))
        names = np.array(rollings[0].groups[s])
        kept = list(dict.fromkeys(names))
        if len(kept) > 2:
            means = np.array([errors[names == name].mean() for name in kept])
            common += float(means.mean() ** 2)
            own += max(float(means.var(ddof=1)) - sigma**2 * len(kept) / len(names), 0.0)
    return common / (common + own) if common + own > 0 else SHARED
