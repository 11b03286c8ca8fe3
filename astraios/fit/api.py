"""`astraios.fit(frame, ...)`: fit laws to a frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from astraios.errors import DataError, UsageError
from astraios.fit.axes import Roles, arrange
from astraios.fit.checks import of_assumptions, of_data, of_data_left_out, of_fit
from astraios.fit.decays import decayed_ends as ends_of_decays
from astraios.fit.ensemble import build, noisier
from astraios.fit.named import check_inputs, with_shares
from astraios.fit.observations import ROW, check_named, fit_id, numbers, read, require_sizes
from astraios.fit.results import FitResult
from astraios.fit.weigh import candidates, estimator_name

if TYPE_CHECKING:
    import polars as pl


def fit(
    frame: Any,
    law: str = "auto",
    n: str = "n_params",
    d: str | None = None,
    loss: str = "loss",
    group: str | None = None,
    estimator: str = "huber",
    level: float = 0.9,
    seed: int = 0,
    u: str | None = None,
    *,
    by: str | Sequence[str] | None = None,
    where: Mapping[str, Any] | None = None,
    best_over: str | Sequence[str] | None = None,
    repeat: str | Sequence[str] | None = None,
    quantity: str | None = None,
    base_noise: float | None = None,
    inputs: Mapping[str, str] | None = None,
    decayed_ends: bool = False,
) -> FitResult:
    """Fit a scaling law, or the average of several, to losses of runs.

    Runs that agree in series and inputs make a point. What differs among them needs a role: the learning rate, batch
    size, schedule, warm-up and weight decay are tuned (each point counts at its best value), the seed and the base
    model are repeats; for any other column one of `by`, `where`, `best_over` and `repeat` has to say.

    Args:
        frame: polars or pandas frame, one row a run. Columns run_id and seed are used where they are there.
        law: name of a law, or auto: laws weighed by what they would have said about hidden sizes.
        n: column of sizes (parameters).
        d: column of amounts of data (tokens), if they vary.
        loss: column of losses, nats.
        group: column that names the series; their curves are shrunk towards a shared shape. The same as `by`.
        estimator: huber (threshold 1.345 times the noise), huber_1e-3 (as in the literature, no priors) or
            least_squares, all on log loss.
        level: nominal coverage of the intervals.
        seed: of the resampling; the same seed gives the same bits.
        u: column of unique tokens, where data were repeated; with it the data-constrained law is considered.
        by: columns that name the series, with `group` as the first.
        where: values by column: only these runs are used; a list takes several.
        best_over: columns that are tuned: each point counts at its best value.
        repeat: columns that are noise.
        quantity: what the losses are (nats, bits_per_byte, error_rate, one_minus_score, squared_error), which says
            what floor to expect; by default as they look, which is said where they look like no text's loss.
        base_noise: standard deviation of log losses between base models of one size, for ladders of sizes alone with
            one base a size, where it can't be seen; by default it is assumed and said.
        inputs: columns of further inputs by the names that laws have for them (n_experts, bits, n_trainable, share,
            share_1, ...): laws that take them are considered beside those that don't, and chosen where they say more
            about hidden points.
        decayed_ends: whether the frame has a row an evaluation, with columns run_id, step and learning_rate, of which
            the ends of decays of the rate are the points (see `astraios.fit.decays`).

    Raises:
        DataError: no rows, a missing column, a value that is not a positive number.
        FitError: too few sizes, or an input that the law needs is missing.
        UsageError: an unknown law, estimator or quantity; a level or base noise out of range; runs of one
            point differ in a column that has no role.

    >>> import astraios, polars as pl
    >>> runs = pl.DataFrame({"method": ["fft"] * 4 + ["lora"] * 4, "n_params": [1e8, 3e8, 1e9, 3e9] * 2,
    ...                      "loss": [3.10, 2.80, 2.55, 2.37, 3.18, 2.89, 2.65, 2.47]})
    >>> result = astraios.fit(runs, law="power_offset", group="method")
    >>> result.groups, result.law
    (('fft', 'lora'), 'power_offset')
    >>> 0 < result.params["fft"]["alpha"] < 1
    True
    >>> print(result.summary())  # doctest: +ELLIPSIS
    power_offset: 2 series, 8 runs
    ...
    """
    if not 0 < level < 1:
        raise UsageError(f"level {level} is not between 0 and 1: write for instance 0.9")
    import polars as pl

    table = _polars(frame)
    table, notes = ends_of_decays(table, loss) if decayed_ends else (table, ())
    columns = {"n_params": n} | ({"n_tokens": d} if d else {}) | ({"unique_tokens": u} if u else {})
    more = check_inputs(inputs or {})
    table, columns = with_shares(table, more), {**columns, **more}
    series = list(dict.fromkeys([*([group] if group else []), *_several(by)]))
    _require(table, [loss, *columns.values(), *series])
    for name in series:
        check_named(table, name)
    numbers(table, loss, "a positive loss in nats")
    roles = Roles((), _pairs(where), _several(best_over), _several(repeat))
    named = table["run_id"] if "run_id" in table.columns else [f"{ROW}{i}" for i in range(len(table))]
    table = table.with_columns(run_id=pl.Series([str(name) for name in named]))
    points = arrange(
        table, inputs=list(columns.values()), series=series, roles=roles, loss=loss, named=tuple(more.values())
    )
    ladder = read(points.frame, loss=loss, inputs=columns, group="series", quantity=quantity)
    estimator = estimator_name(estimator)
    laws = candidates(law, ladder, tuple(more))
    require_sizes(ladder, pooled=len(ladder) > 1)
    ensemble = noisier(build(laws, ladder, estimator, seed, base_noise=base_noise), points.run_noise, seed)
    warnings = [*notes, *points.warnings, *of_data(ladder), *of_fit(ensemble)]
    warnings += of_assumptions(ensemble.ladder, quantity is None)
    if d and not any("n_tokens" in one.inputs for one in laws):
        warnings += [note for note in of_data_left_out(ladder) if note not in warnings]
    noted = () if base_noise is None else (f"base noise {base_noise}",)
    key = fit_id(ladder, law, estimator, level, seed, *noted)
    return FitResult(ensemble, level, seed, estimator, tuple(warnings), key, n, d, points.axes, points.optima)


def _several(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return () if names is None else (names,) if isinstance(names, str) else tuple(names)


def _pairs(where: Mapping[str, Any] | None) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name, value in (where or {}).items():
        values = value if isinstance(value, list | tuple | set) else [value]
        pairs += [(name, "none" if one is None else str(one)) for one in values]
    return tuple(pairs)


def _require(table: pl.DataFrame, names: Sequence[str]) -> None:
    missing = [name for name in names if name not in table.columns]
    if missing:
        raise DataError(f"no column {missing[0]!r} in the data: it has {', '.join(table.columns) or 'none'}")


def _polars(frame: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    return pl.from_pandas(frame) if hasattr(frame, "iloc") else pl.DataFrame(frame)
