"""Fits that are used again without their data: projections from the draws that the database keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from astraios.errors import FitError, UsageError
from astraios.fit.curve import Array
from astraios.fit.ensemble import GRID
from astraios.fit.laws import LAWS
from astraios.fit.sizes import parse_sizes
from astraios.records.fitted import BEST_DRAW

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class StoredFit:
    """A fit of the losses of one method, restored from its rows."""

    fit_id: str
    method_id: str | None
    level: float
    laws: tuple[str, ...]
    weights: Array
    best: tuple[dict[str, float], ...]
    """Natural parameters of each law's best estimate."""
    draws: tuple[dict[str, Array], ...]
    """Natural parameters of each law's draws, (its draws,) each."""
    form: Array
    noise: Array
    stretch: Array
    sigma: float
    largest: dict[str, float]
    bias: float = 0.0
    """Log loss taken off for each root of the distance beyond the largest."""
    order: Array = field(default_factory=lambda: np.zeros(len(GRID)))
    """Log loss added at each distance of GRID (see `astraios.fit.ensemble`)."""
    names: Mapping[str, float] = field(default_factory=dict)
    """Parameters by the short names of the ladder that it is about, lower case."""

    def predict(self, n_params: Sequence[float | str], n_tokens: Sequence[float] | None = None) -> pl.DataFrame:
        """Projected losses as `FitResult.predict` gives them.

        Raises:
            UsageError: the fit uses tokens and none are given.
        """
        import polars as pl

        sizes = np.array(parse_sizes(n_params, self.names))
        inputs: dict[str, Array | None] = {"n_params": sizes, "n_tokens": None}
        if n_tokens is not None:
            inputs["n_tokens"] = np.broadcast_to(np.asarray(n_tokens, float), sizes.shape)
        mean, parts = np.zeros(len(sizes)), []
        for name, weight, best, drawn in zip(self.laws, self.weights, self.best, self.draws, strict=True):
            law = LAWS.get(name)
            mean = mean + weight * np.log(law.predict(best, **inputs))
            if drawn:
                parts.append(np.log(law.predict(drawn, **inputs)))
        far = self._reach(inputs)
        off = np.concatenate(parts) - mean + self.sigma * self.form[:, None] * np.sqrt(far)
        stretch, tail = self.stretch[:, None], (1 - self.level) / 2
        mean = mean - self.bias * np.sqrt(far) + np.interp(far, GRID, self.order)
        draws, new = mean + stretch * off, mean + stretch * (off + self.sigma * self.noise[:, None])
        low, high = np.quantile(draws, [tail, 1 - tail], axis=0)
        new_low, new_high = np.quantile(new, [tail, 1 - tail], axis=0)
        return pl.DataFrame(
            {
                "n_params": sizes, "n_tokens": inputs["n_tokens"], "mean": np.exp(mean),
                "low": np.exp(np.minimum(low, mean)), "high": np.exp(np.maximum(high, mean)),
                "new_low": np.exp(np.minimum(new_low, mean)), "new_high": np.exp(np.maximum(new_high, mean)),
            },
            schema_overrides={"n_tokens": pl.Float64},
        )  # fmt: skip

    def _reach(self, inputs: Mapping[str, Array | None]) -> Array:
        beyond = []
        for name, largest in self.largest.items():
            values = [inputs.get(part) for part in name.split("*")]
            if any(value is None for value in values):
                raise UsageError(f"this fit uses {name}: give it to predict()")
            beyond.append(np.sum([np.log(v) for v in values if v is not None], axis=0) - np.log(largest))
        return np.maximum(np.max(beyond, axis=0), 0.0)


def restore(fit: Mapping[str, Any], draws: pl.DataFrame, names: Mapping[str, float] | None = None) -> StoredFit:
    """A fit from its row of the table `fit` and its rows of `fit_draw`.

    Args:
        fit: by column.
        draws: rows of this fit, and of others.
        names: parameters by the short names of the ladder that it is about.

    Raises:
        FitError: the rows are not those of a fit of losses, or draws are missing.
    """
    import polars as pl

    mine = draws.filter(pl.col("fit_id") == fit["fit_id"])
    if fit["quantity"] != "loss" or mine.is_empty():
        raise FitError(f"fit {fit['fit_id']} has no draws of a loss: fit it again")
    certificate = json.loads(fit["certificate"])
    weights = certificate["weights"]
    drawn, best = [], []
    for name in weights:
        rows = mine.filter(pl.col("law") == name)
        columns = {key: part.sort("draw") for (key,), part in rows.group_by(["name"]) if isinstance(key, str)}
        best.append({key: float(part.filter(pl.col("draw") == BEST_DRAW)["value"][0]) for key, part in columns.items()})
        kept = {key: part.filter(pl.col("draw") >= 0)["value"].to_numpy() for key, part in columns.items()}
        drawn.append(kept if len(next(iter(kept.values()))) else {})
    extra = {key: mine.filter((pl.col("law") == "auto") & (pl.col("name") == key)).sort("draw")["value"].to_numpy()
             for key in ("form", "noise", "stretch")}  # fmt: skip
    return StoredFit(
        fit["fit_id"], fit["method_id"], fit["level"], tuple(weights), np.array(list(weights.values())), tuple(best),
        tuple(drawn), extra["form"], extra["noise"], extra["stretch"], certificate["sigma"], certificate["largest"],
        certificate.get("bias", 0.0), np.array(certificate.get("order", np.zeros(len(GRID)))), names or {},
    )  # fmt: skip
