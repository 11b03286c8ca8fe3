"""`astraios.fit(frame, ...)`: fit laws to a frame."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from astraios.fit.checks import of_data, of_fit
from astraios.fit.ensemble import build
from astraios.fit.observations import Ladder, read, require_sizes
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
) -> FitResult:
    """Fit a scaling law, or the average of several, to losses of runs.

    Args:
        frame: polars or pandas frame, one row a run. Columns run_id and seed are used where they are there.
        law: name of a law, or auto: laws weighed by what they would have said about hidden sizes.
        n: column of sizes (parameters).
        d: column of amounts of data (tokens), if they vary.
        loss: column of losses, nats.
        group: column that names the series; their curves are shrunk towards a shared shape.
        estimator: huber (threshold 1.345 times the noise), huber_1e-3 (as in the literature, no priors) or
            least_squares, all on log loss.
        level: nominal coverage of the intervals.
        seed: of the resampling; the same seed gives the same bits.
        u: column of unique tokens, where data were repeated; with it the data-constrained law is considered.

    Raises:
        DataError: no rows, a missing column, a value that is not a positive number.
        FitError: too few sizes, or an input that the law needs is missing.
        UsageError: an unknown law or estimator.

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
    inputs = {"n_params": n} | ({"n_tokens": d} if d else {}) | ({"unique_tokens": u} if u else {})
    ladder = read(_polars(frame), loss=loss, inputs=inputs, group=group)
    estimator = estimator_name(estimator)
    laws = candidates(law, ladder)
    require_sizes(ladder, pooled=len(ladder) > 1)
    ensemble = build(laws, ladder, estimator, seed)
    warnings = (*of_data(ladder), *of_fit(ensemble))
    return FitResult(ensemble, level, seed, estimator, warnings, fit_id(ladder, law, estimator, level, seed), n, d)


def fit_id(ladder: Ladder, law: str, estimator: str, level: float, seed: int, *more: object) -> str:
    """Hash of data, law, estimator, level, seed and whatever else tells two fits apart."""
    key = json.dumps([ladder.hash(), law, estimator, level, seed, *map(str, more)])
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _polars(frame: Any) -> pl.DataFrame:
    import polars as pl

    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    return pl.from_pandas(frame) if hasattr(frame, "iloc") else pl.DataFrame(frame)
