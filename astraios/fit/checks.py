"""What can be wrong with a fit, as warnings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from astraios.fit.bases import MANY
from astraios.fit.ensemble import Ensemble
from astraios.fit.notes import FitWarning
from astraios.fit.observations import Ladder, Series
from astraios.fit.pooling import PooledFit
from astraios.fit.quantities import QUANTITIES

FAR = 100.0
OFF = np.log(1.5)
"""Distance from the ratio of size and data of a ladder (log) that counts as off it."""
VANISHING = 0.02
"""Share of the smallest loss below which an irreducible loss counts as none."""


SMALL = 10_000.0
"""No language model has fewer parameters than this."""


def of_data(ladder: Ladder) -> list[FitWarning]:
    """Warnings that need no fit: few sizes, losses that rise, data that do not vary, identical seeds."""
    found = []
    sizes = [len(np.unique(np.round(s.inputs["n_params"], 6))) for s in ladder.series]
    if "n_tokens" not in ladder.series[0].inputs or not _several(ladder, "n_tokens"):
        few = [s.name for s, count in zip(ladder.series, sizes, strict=True) if count < 4]
        if few:
            found.append(
                FitWarning(
                    "few_sizes", f"{min(sizes)} sizes for {_names(few)}: the bend rests on other series and priors"
                )
            )
        found += [_rising(s) for s in ladder.series if s.rises]
    found += _collinear(ladder)
    if ladder.has("n_tokens") and len(ladder.levels("n_tokens")) == 2:
        found.append(FitWarning("few_amounts", "two amounts of data: how much more data are worth rests on the prior"))
    found += _small(ladder)
    found += _crowded(ladder)
    found += _identical(ladder)
    return found


def of_data_left_out(ladder: Ladder) -> list[FitWarning]:
    """Why the amount of data, which was asked for, has no part in a fit."""
    few = FitWarning("one_size_of_data", "fewer than three amounts of data: their exponent is not fitted")
    return _collinear(ladder) or [few]


def of_fit(ensemble: Ensemble) -> list[FitWarning]:
    """Warnings of the best law: parameters at bounds, outliers, starts that disagree."""
    found, fit = [], ensemble.best
    for g, name in enumerate(fit.ladder.names):
        edge = [
            p for p, held in zip(fit.law.names, fit.solution.at_bound[g], strict=True) if held or _vanishes(fit, g, p)
        ]
        if edge:
            found.append(
                FitWarning(
                    "at_bound", f"{name}: {', '.join(edge)} of {fit.law.name} at a bound: a simpler law may do", name
                )
            )
    f, _ = fit.law.evaluate(fit.theta, fit.problems.x)
    residual = np.where(fit.problems.weights > 0, f - fit.problems.y, 0.0)
    far = np.abs(residual) > 6 * fit.scatter
    if far.any() and far.sum() <= 0.2 * (fit.problems.weights > 0).sum():
        count = int(far.sum())
        found.append(
            FitWarning("outliers", f"{count} run{'s' if count > 1 else ''} over 6 noise widths from the curve")
        )
    if fit.agreement < 0.25 and len(fit.ladder) == 1:
        found.append(FitWarning("few_starts_agree", f"{fit.agreement:.0%} of the starts reached the best optimum"))
    return found


def of_assumptions(ladder: Ladder, quantity_guessed: bool) -> list[FitWarning]:
    """What was assumed of the data: the luck of base models that can't be seen, and the kind of quantity."""
    found, luck = [], ladder.luck
    if luck is not None and luck.assumed and np.isfinite(luck.freedom):
        found.append(
            FitWarning(
                "assumed_base_noise",
                f"one run or base model a size: {luck.spread:.1%} of luck that all series of a size share is assumed"
                " (--base-noise, base_noise= in Python)",
            )
        )
    further = sorted({name for one in ladder.series for name in one.inputs} - {"n_params", "n_tokens", "unique_tokens"})
    if further and luck is None and 0 < len(set(np.round(ladder.column("n_params"), 6))) < MANY:
        found.append(
            FitWarning(
                "no_base_noise",
                f"with {', '.join(further)} as an input no luck of base models is in the intervals, and with one base a"
                " size the runs do not show it: where a fit of size alone has the wider interval, believe that one",
            )
        )
    if quantity_guessed and ladder.quantity != "nats":
        meaning = QUANTITIES[ladder.quantity].meaning
        found.append(
            FitWarning(
                "assumed_quantity", f"taken as {meaning} by its name or values (--quantity, quantity= in Python)"
            )
        )
    return found


def _vanishes(fit: PooledFit, g: int, name: str) -> bool:
    """Whether an irreducible loss is next to nothing: its bound is 0."""
    k = fit.law.names.index(name)
    smallest = float(fit.ladder.series[g].log_loss.min())
    return fit.law.parameters[k].role == "floor" and float(fit.theta[g, k]) < smallest + np.log(VANISHING)


def of_target(ladder: Ladder, sizes: Sequence[float], tokens: Sequence[float] | None = None) -> list[FitWarning]:
    """`far_extrapolation` for targets over 100 times the largest size, amount of data or budget; data off their ratio.

    Args:
        tokens: amounts of data, one a size.
    """
    seen = {"size": (ladder.column("n_params"), np.asarray(sizes, float))}
    if tokens is not None and ladder.has("n_tokens"):
        data, asked = ladder.column("n_tokens"), np.asarray(tokens, float)
        seen["amount of data"] = (data, asked)
        seen["size times data"] = (seen["size"][0] + data, seen["size"][1] * asked)
    found: list[FitWarning] = []
    for what, (logs, values) in seen.items():
        largest = float(np.exp(logs.max()))
        far = [value for value in values if value > FAR * largest]
        if what != "size times data" or not found:
            found += [
                FitWarning(
                    "far_extrapolation", f"{value:.4g} is {value / largest:.0f} times the largest {what} seen"
                    f" ({largest:.4g})",
                )
                for value in far
            ]  # fmt: skip
    if tokens is not None and any(note.code == "collinear" for note in _collinear(ladder)):
        size, data = ladder.column("n_params"), ladder.column("n_tokens")
        slope = float(np.polyfit(size - size.mean(), data, 1)[0])
        along = data.mean() + slope * (np.log(np.asarray(sizes, float)) - size.mean())
        if (np.abs(np.log(np.asarray(tokens, float)) - along) > OFF).any():
            found.append(
                FitWarning(
                    "collinear",
                    "size and data varied together: what data off their ratio would change is not in the fit",
                )
            )
    return found


def _several(ladder: Ladder, name: str) -> bool:
    return len(ladder.levels(name)) > 2


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _rising(series: Series) -> FitWarning:
    text = f"{series.name}: the loss rises with size; a learning rate tuned at another size is the usual cause"
    return FitWarning("not_monotone", text, series.name)


def _collinear(ladder: Ladder) -> list[FitWarning]:
    if not ladder.has("n_tokens"):
        return []
    size, data = ladder.column("n_params"), ladder.column("n_tokens")
    if len(np.unique(data)) < 2:
        return [FitWarning("one_size_of_data", "one amount of data: its exponent is not determined and is not fitted")]
    if len(np.unique(size)) < 2:
        return []
    if abs(np.corrcoef(size, data)[0, 1]) > 0.99:
        return [FitWarning("collinear", "size and data vary together: their effects cannot be told apart")]
    return []


def _small(ladder: Ladder) -> list[FitWarning]:
    largest = float(np.exp(ladder.column("n_params").max()))
    if largest >= SMALL:
        return []
    text = f"the largest size is {largest:g} parameters: if sizes are in billions or millions, give them in full"
    return [FitWarning("small_sizes", text)]


def _crowded(ladder: Ladder) -> list[FitWarning]:
    """Sizes within 3 % of one another look like one model counted in two ways."""
    levels = ladder.levels("n_params")
    gaps = np.diff(levels)
    close = (gaps > 1e-6) & (gaps < 0.03)
    if len(levels) > 12 or not close.any():
        return []
    pair = np.exp(levels[np.flatnonzero(close)[0] : np.flatnonzero(close)[0] + 2])
    return [FitWarning("mixed_sizes", f"sizes {pair[0]:.0f} and {pair[1]:.0f} look like one model counted in two ways")]


def _identical(ladder: Ladder) -> list[FitWarning]:
    repeated = same = 0
    for series in ladder.series:
        key = np.column_stack([np.round(c, 9) for c in series.inputs.values()])
        _, inverse = np.unique(key, axis=0, return_inverse=True)
        for cell in range(inverse.max() + 1):
            losses = series.log_loss[inverse == cell]
            repeated += len(losses) > 1
            same += len(losses) > 1 and np.ptp(losses) == 0
    if repeated and same == repeated:
        return [FitWarning("identical_seeds", "repeated runs agree to the last digit: they say nothing about noise")]
    return []
