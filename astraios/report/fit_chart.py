"""A fitted law with the data that it was fitted to: what `astraios.report.plot` and `FitResult.plot()` show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import altair as alt
import numpy as np
import polars as pl

from astraios.report.marks import log_ticks, size_axis, span
from astraios.report.theme import SCHEMES, config, method_domain, palette, size_label

if TYPE_CHECKING:
    from collections.abc import Sequence

REACH = 4.0
"""The curve goes on to this multiple of the largest size in the data."""
INPUTS = {"n_params": "parameters", "n_tokens": "tokens", "unique_tokens": "unique tokens"}


class Result(Protocol):
    """What is drawn: a `FitResult`."""

    @property
    def data(self) -> pl.DataFrame:
        """Columns group, loss and each input that there are values of."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Inputs that its laws use."""

    def predict(
        self,
        n_params: Sequence[float],
        n_tokens: Sequence[float] | None = None,
        unique_tokens: Sequence[float] | None = None,
    ) -> pl.DataFrame:
        """Columns n_params, n_tokens, mean, low, high, new_low, new_high; with several series also group."""


def draw(result: Result, reach: float = REACH, points: int = 60, scheme: str = "light") -> alt.TopLevelMixin:
    """The law with both intervals: dark for the mean, light for one new run.

    It is drawn over size, or over tokens where the law knows nothing else. Where it has further inputs, they are held
    at the most that the data have, which the chart says; points with less are pale.

    Args:
        result: a fit.
        reach: how far the curve goes, as a multiple of the largest size.
        points: sizes at which the law is evaluated.
        scheme: light or dark.
    """
    data = result.data.with_columns(pl.col(name).cast(pl.Float64) for name in ("loss", *INPUTS)
                                    if name in result.data.columns)  # fmt: skip
    x = "n_params" if "n_params" in result.inputs else result.inputs[0]
    held = {name: float(data[name].max()) for name in result.inputs if name != x}  # type: ignore[arg-type]
    curve = _curve(result, data, x, held, reach, points)
    at_most = pl.all_horizontal([pl.col(name) > 0.999 * value for name, value in held.items()] or [pl.lit(True)])
    dots = data.with_columns(shown=pl.when(at_most).then(1.0).otherwise(0.3))
    chart = _layers(curve, dots, x, scheme)
    if held:
        words = ", ".join(f"{size_label(value)} {INPUTS[name]}" for name, value in held.items())
        chart = chart.properties(
            title=alt.TitleParams(
                f"at {words}, the most in the data",
                anchor="start",
                fontSize=12,
                fontWeight="normal",
                color=SCHEMES[scheme]["soft"],
            )
        )
    return chart.configure(**config(scheme))


def _curve(
    result: Result, data: pl.DataFrame, x: str, held: Mapping[str, float], reach: float, points: int
) -> pl.DataFrame:
    low, high = float(data[x].min()), float(data[x].max())  # type: ignore[arg-type]
    grid = np.geomspace(low, high * reach, points)
    asked: dict[str, Any] = {"n_params": [float(data["n_params"].max())], **{k: [v] for k, v in held.items()}}  # type: ignore[arg-type]
    asked = {name: np.broadcast_to(np.asarray(values), points).tolist() for name, values in asked.items()}
    curve = result.predict(**{**asked, x: grid.tolist()})
    if "group" not in curve.columns:
        curve = curve.with_columns(group=pl.lit(data["group"][0]))
    return curve.with_columns(pl.Series(x, np.tile(grid, curve.height // points)))


def _layers(curve: pl.DataFrame, dots: pl.DataFrame, x: str, scheme: str) -> alt.LayerChart | alt.FacetChart:
    names = dots["group"].unique().sort().to_list()
    bounds = pl.concat([dots["loss"], curve["new_low"], curve["new_high"]])
    scale = alt.Scale(domain=list(span(bounds.filter(bounds.is_finite()).to_list())), nice=False)
    axis = size_axis(curve, x, title=INPUTS[x]).axis(
        values=log_ticks([curve[x].min(), curve[x].max()]),  # type: ignore[list-item]
        labelExpr="replace(format(datum.value, '.3~s'), 'G', 'B')",
    )
    y = alt.Y("mean:Q", title="loss, nats per token", scale=scale)
    base = alt.Chart(curve).encode(x=axis, color=_colour(names, scheme))
    new = base.mark_area(opacity=0.13, clip=True).encode(y=alt.Y("new_low:Q", scale=scale), y2="new_high:Q")
    mean = base.mark_area(opacity=0.25, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    line = base.mark_line().encode(y=y)
    known = [name for name in INPUTS if name in dots.columns]
    marks = alt.Chart(dots).mark_point().encode(
        x=axis, y=alt.Y("loss:Q"), opacity=alt.Opacity("shown:Q", scale=None, legend=None),
        color=_colour(names, scheme) if len(names) > 1 else alt.value(SCHEMES[scheme]["ink"]),
        tooltip=[alt.Tooltip("group:N", title="series"),
                 *(alt.Tooltip(f"{name}:Q", title=INPUTS[name], format=",.0f") for name in known),
                 alt.Tooltip("loss:Q", title="loss, nats", format=".4f")],
    )  # fmt: skip
    return alt.layer(new, mean, line, marks).properties(width=480, height=300)


def _colour(names: list[str], scheme: str) -> alt.Color:
    """Each series in the colour that the report has for a method of its name; one alone in the accent."""
    if len(names) == 1:
        return alt.Color("group:N", scale=alt.Scale(range=[SCHEMES[scheme]["accent"]]), legend=None)
    domain = method_domain(names)
    colours = dict(zip(domain, palette(scheme, len(domain)), strict=True))
    return alt.Color("group:N", scale=alt.Scale(domain=names, range=[colours[n] for n in names]), title=None,
                     legend=alt.Legend(orient="right", symbolOpacity=1))  # fmt: skip
