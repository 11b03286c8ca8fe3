"""What a fit gives back: frozen, printable, and able to predict."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit import drawing
from astraios.fit.axes import Axis, Optimum
from astraios.fit.checks import of_target
from astraios.fit.curve import Array
from astraios.fit.ensemble import Ensemble
from astraios.fit.named import LEAST, is_share
from astraios.fit.notes import FitWarning
from astraios.fit.pooling import PooledFit
from astraios.fit.sizes import parse_sizes
from astraios.records.fitted import ParameterValue

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl


def parameter_values(fit: PooledFit, theta: Array, g: int, level: float) -> dict[str, ParameterValue]:
    """Parameters of series `g` with intervals from draws `theta` (draws, parameters)."""
    tail = (1 - level) / 2
    best = fit.law.natural(fit.law.uncentre(fit.theta[g], fit.centre))
    drawn = fit.law.natural(fit.law.uncentre(theta, fit.centre)) if len(theta) else best[None]
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    edge = fit.solution.at_bound[g]
    return {
        name: ParameterValue(float(best[k]), float(min(low[k], best[k])), float(max(high[k], best[k])), bool(edge[k]))
        for k, name in enumerate(fit.law.names)
    }


def _beside(values: Sequence[float] | Array, sizes: Array, name: str) -> Array:
    """Numbers, one a size or one for all."""
    try:
        numbers = np.asarray(values, float)
        return np.broadcast_to(numbers, sizes.shape)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: give numbers, one for all sizes or one each ({len(sizes)} sizes)") from None


def _check_positive(values: Array, what: str) -> None:
    if not (np.isfinite(values).all() and (values > 0).all()):
        raise FitError(f"{what} to predict at is not a positive number")


@dataclass(frozen=True)
class FitResult:
    """A law, or several, fitted to one or more series.

    `params` holds the best law's parameters by name (by series and name when there are several series).
    """

    ensemble: Ensemble
    level: float
    seed: int
    estimator: str
    warnings: tuple[FitWarning, ...]
    fit_id: str
    n: str = "n_params"
    d: str | None = None
    axes: tuple[Axis, ...] = ()
    """Facts that vary among the runs, with their roles."""
    optima: tuple[Optimum, ...] = ()
    """Where tuned facts are best, by series."""

    @property
    def law(self) -> str:
        """Name of the law, or auto for an average of several."""
        return self.ensemble.fits[0].law.name if len(self.ensemble.fits) == 1 else "auto"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that its laws use, for instance n_params and n_tokens."""
        return tuple(dict.fromkeys(name for fit in self.ensemble.fits for name in fit.law.inputs))

    @property
    def data(self) -> pl.DataFrame:
        """The runs as they were measured: columns group, n_params and what other inputs there are, loss (nats)."""
        import polars as pl

        ladder = self.ensemble.ladder
        parts = [
            pl.DataFrame(
                {
                    "group": [series.name] * len(series),
                    **{name: np.exp(column) for name, column in series.inputs.items()},
                    "loss": np.exp(ladder.measured(g)),
                }
            )
            for g, series in enumerate(ladder.series)
        ]
        return pl.concat(parts)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the series."""
        return self.ensemble.ladder.names

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each law in the projections."""
        names = [fit.law.name for fit in self.ensemble.fits]
        return dict(zip(names, map(float, self.ensemble.weights), strict=True))

    def parameters(self, group: str | None = None) -> dict[str, ParameterValue]:
        """The best law's parameters with intervals, for one series.

        Raises:
            UsageError: there is no such series, or none is named and there are several.
        """
        g = self._index(group)
        fit, theta = self.ensemble.best, self.ensemble.draws[int(np.argmax(self.ensemble.weights))]
        return parameter_values(fit, theta[g], g, self.level)

    @property
    def params(self) -> dict[str, Any]:
        """Estimates by name, or by series and name."""
        if len(self.groups) == 1:
            return {name: p.value for name, p in self.parameters(self.groups[0]).items()}
        return {g: {name: p.value for name, p in self.parameters(g).items()} for g in self.groups}

    @property
    def objective(self) -> float:
        """Objective of the best law at its optimum, summed over runs and series, its priors included."""
        return float(self.ensemble.best.solution.objective.sum())

    def optimum(self, n_params: float | str, n_tokens: float | None = None) -> list[dict[str, Any]]:
        """The best value of each tuned fact at a size (and an amount of data), with its interval, a row a series."""
        point: dict[str, float | None] = {"n_params": parse_sizes(n_params)[0], "n_tokens": n_tokens}
        point |= {self.n: point["n_params"], **({self.d: n_tokens} if self.d else {})}
        return [one.at(point, self.level) for one in self.optima]

    def _index(self, group: str | None) -> int:
        if group is None and len(self.groups) == 1:
            return 0
        if group not in self.groups:
            raise UsageError(f"no series {group!r} in this fit: it has {', '.join(self.groups)}")
        return self.groups.index(group)

    def predict(
        self,
        n_params: Sequence[float | str],
        n_tokens: Sequence[float] | None = None,
        unique_tokens: Sequence[float] | None = None,
        **inputs: Sequence[float] | float,
    ) -> pl.DataFrame:
        """Projected losses with intervals of the mean (low, high) and of a new run (new_low, new_high).

        Args:
            n_params: sizes, as numbers of parameters or as texts such as "7B".
            n_tokens: amounts of data, one a size or one for all; needed where the law uses them.
            unique_tokens: likewise, where data are repeated; without it every token is seen once.
            **inputs: further inputs by the names that laws have for them, as `astraios.fit(inputs=...)` has them.

        Returns:
            Columns n_params, n_tokens, mean, low, high, new_low, new_high; with several series also group, first.

        Raises:
            UsageError: the law needs n_tokens; lists of unequal length.
            FitError: a size or an amount of data is not a positive number.

        Warns:
            UserWarning: what `warnings_at` says of these targets.

        >>> import astraios, polars as pl
        >>> runs = pl.DataFrame({"n_params": [1e8, 3e8, 1e9, 3e9], "loss": [3.10, 2.80, 2.55, 2.37]})
        >>> ahead = astraios.fit(runs, law="power_offset").predict(n_params=["7B"])
        >>> ahead.columns
        ['n_params', 'n_tokens', 'mean', 'low', 'high', 'new_low', 'new_high']
        >>> low, mean, high = ahead.select("new_low", "mean", "new_high").row(0)
        >>> low < mean < high < 2.37
        True
        """
        import polars as pl

        sizes = np.array(parse_sizes(n_params))
        tokens = None if n_tokens is None else _beside(n_tokens, sizes, "n_tokens")
        _check_positive(sizes, "a size")
        if tokens is not None:
            _check_positive(tokens, "an amount of data")
        for note in self.warnings_at(sizes, tokens):
            warnings.warn(f"{note.code}: {note.message}", stacklevel=2)
        columns = {"n_params": np.log(sizes)}
        if tokens is not None:
            columns["n_tokens"] = np.log(tokens)
            unique = tokens if unique_tokens is None else _beside(unique_tokens, sizes, "unique_tokens")
            columns["unique_tokens"] = np.log(np.minimum(unique, tokens))
        for name, values in inputs.items():
            given = _beside(np.atleast_1d(np.asarray(values, float)), sizes, name)
            columns[name] = np.log(np.maximum(given, LEAST) if is_share(name) else given)
        needed = set(self.inputs)
        if needed - set(columns):
            raise UsageError(f"this fit uses {', '.join(sorted(needed - set(columns)))}: give it to predict()")
        count = len(self.groups)
        used = {name: np.tile(column, (count, 1)) for name, column in columns.items() if name in needed}
        drawn = self.ensemble.project(used)
        low, high = drawn.interval(self.level)
        new_low, new_high = drawn.interval(self.level, new=True)
        rows = [
            {
                "group": name, "n_params": sizes[t], "n_tokens": None if tokens is None else tokens[t],
                "mean": np.exp(drawn.mean[g, t]), "low": low[g, t], "high": high[g, t],
                "new_low": new_low[g, t], "new_high": new_high[g, t],
            }
            for g, name in enumerate(self.groups)
            for t in range(len(sizes))
        ]  # fmt: skip
        frame = pl.DataFrame(rows, schema_overrides={"n_tokens": pl.Float64})
        return frame if count > 1 else frame.drop("group")

    def plan(
        self, *, flops: float | None = None, device_hours: float | None = None, money: float | None = None,
        loss: float | None = None, price: float | None = None, series: str | None = None,
        n_params: float | str | None = None, n_tokens: float | None = None, tokens_per_param: float | None = None,
    ) -> pl.DataFrame:  # fmt: skip
        """The best size and amount of data for a budget, or the least budget for a loss, a row a series.

        Args:
            flops: a budget, in training FLOPs (6 N D).
            device_hours: a budget; one device is taken to sustain what one H100 is assumed to.
            money: a budget; needs `price`.
            loss: a loss to reach, nats; one of these four.
            price: of a device-hour.
            series: one series; all without it.
            n_params, n_tokens, tokens_per_param: one of them holds what would be chosen.

        Returns:
            Columns series, flops, n_params, n_tokens, loss and their intervals, exponent, flat_low and flat_high (sizes
            within 0.2 % of the best loss), p_no_optimum, p_unreachable and more; flops is null where a loss is not
            reached.

        Raises:
            UsageError: not one question, or a number that makes no sense.
            FitError: the fit does not know what data do: give `astraios.fit` the column of tokens with d=.

        >>> import astraios, numpy as np, polars as pl
        >>> n, d = np.meshgrid([1e7, 3e7, 1e8, 3e8], [1e9, 3e9, 1e10, 3e10])
        >>> runs = pl.DataFrame({"n_params": n.ravel(), "tokens": d.ravel()})
        >>> runs = runs.with_columns(loss=1.8 + 480 * pl.col("n_params") ** -0.35 + 2100 * pl.col("tokens") ** -0.37)
        >>> result = astraios.fit(runs, law="chinchilla", d="tokens")
        >>> best = result.plan(flops=1e21)
        >>> bool(best["n_params_low"][0] < best["n_params"][0] < best["n_params_high"][0])
        True
        >>> round(result.plan(loss=best["loss"][0])["flops"][0] / 1e21, 3)
        1.0
        """
        import polars as pl

        from astraios.fit.decide.ask import of_result

        held = None if n_params is None else parse_sizes(n_params)[0]
        return pl.DataFrame(
            of_result(
                self, flops=flops, device_hours=device_hours, money=money, loss=loss, price=price, series=series,
                held=(held, n_tokens, tokens_per_param),
            ),
            infer_schema_length=None,
        )  # fmt: skip

    def warnings_at(
        self, n_params: Sequence[float] | Array, n_tokens: Sequence[float] | Array | None = None
    ) -> tuple[FitWarning, ...]:
        """Warnings about targets: over 100 times the largest size, data or budget seen; data off a collinear ratio."""
        if not self.ensemble.ladder.has("n_params"):
            return ()
        sizes = np.atleast_1d(np.asarray(n_params, float))
        tokens = None if n_tokens is None else _beside(n_tokens, sizes, "n_tokens").tolist()
        return tuple(of_target(self.ensemble.ladder, sizes.tolist(), tokens))

    def summary(self) -> str:
        """A few lines for people: laws and weights, parameters with intervals, certificate, warnings."""
        best = self.ensemble.best
        lines = [f"{self.law}: {len(self.groups)} series, {sum(map(len, self.ensemble.ladder.series))} runs"]
        rolled = {r.law.name: r for r in self.ensemble.rollings}
        for name, weight in self.weights.items():
            own = "   each series its own shape" if rolled[name].alone else ""
            lines.append(f"  {name:<16} weight {weight:5.2f}   rolling hold-out error {rolled[name].rmse:.2%}{own}")
        for group in self.groups:
            lines.append(f"{group} ({best.law.name}, {self.level:.0%} intervals)")
            for name, p in self.parameters(group).items():
                mark = "  at its bound" if p.at_bound else ""
                lines.append(f"  {name:<8} {p.value:12.5g}   [{p.low:.5g}, {p.high:.5g}]{mark}")
        lines.append(
            f"noise of a run {self.ensemble.scatter:.2%}, starts that agree {best.agreement:.0%},"
            f" Newton decrement {float(best.solution.decrement.max()):.1e}"
        )
        lines += [f"{w.code}: {w.message}" for w in self.warnings]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        """For notebooks: the parameters as a table, the rest as text."""
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(group)}</td><td>{escape(name)}</td><td>{p.value:.5g}</td>"
            f"<td>{p.low:.5g}</td><td>{p.high:.5g}</td></tr>"
            for group in self.groups
            for name, p in self.parameters(group).items()
        )
        notes = "".join(f"<li><code>{escape(w.code)}</code> {escape(w.message)}</li>" for w in self.warnings)
        law = escape(self.ensemble.best.law.name)
        return (
            f"<table><caption>{law}</caption><thead><tr><th>series</th><th>parameter</th><th>value</th>"
            f"<th>low</th><th>high</th></tr></thead><tbody>{rows}</tbody></table><ul>{notes}</ul>"
        )

    def plot(self) -> Any:
        """The fit over its data, as an Altair chart (`astraios.report.plot`)."""
        return drawing.draw(self)
