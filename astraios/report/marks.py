"""What several figures are made of: lines by tuning method with labels at their ends, axes of sizes, tooltips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl

from astraios.report.theme import chance, method_domain, size_label

HEIGHT = 300
"""Height of a plot, pixels."""
LABEL_GAP = 15
"""Least distance between the labels at the ends of lines, pixels."""
SIZE_AXIS = "replace(format(datum.value, '.3~s'), 'G', 'B')"


def colour(frame: pl.DataFrame) -> alt.Color:
    """Colour by tuning method: the same method has the same colour in every figure."""
    return alt.Color("method_id:N", legend=None, scale=alt.Scale(domain=_domain(frame)))


def shape(frame: pl.DataFrame) -> alt.Shape:
    """Shape by tuning method, for readers who don't see the colour."""
    return alt.Shape("method_id:N", legend=None, scale=alt.Scale(domain=_domain(frame)))


def _domain(frame: pl.DataFrame) -> list[str]:
    return method_domain(frame["method_id"].drop_nulls().unique().to_list())


def size_axis(frame: pl.DataFrame, column: str = "n_params", title: str = "parameters of the base model") -> alt.X:
    """A log axis of numbers of parameters, with a tick at each size when they are few."""
    sizes = sorted(frame[column].drop_nulls().unique().to_list())
    ticks = sizes if len(sizes) <= 6 else log_ticks(sizes)
    axis = alt.Axis(labelExpr=SIZE_AXIS, labelOverlap="greedy", values=ticks)
    scale = alt.Scale(type="log", nice=False, padding=14)
    return alt.X(f"{column}:Q", title=f"{title} (log scale)", scale=scale, axis=axis)


def log_ticks(values: Sequence[float]) -> list[float]:
    """Ticks of a log axis over the positive finite values: powers of ten, and more between them when there are few."""
    shown = [value for value in values if 0 < value < math.inf]
    if not shown:
        return []
    low, high = math.log10(min(shown)), math.log10(max(shown))
    choices = (
        (2.5, [1]),
        (1.2, [1, 3]),
        (0.7, [1, 2, 5]),
        (0.35, [1, 1.5, 2, 3, 4, 5, 6, 8]),
        (0.0, [1, 1.1, 1.2, 1.4, 1.6, 1.8, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 9]),
    )
    steps = next(steps for reach, steps in choices if high - low >= reach)
    ticks = [step * 10.0**power for power in range(math.floor(low), math.ceil(high) + 1) for step in steps]
    return [tick for tick in ticks if low - 0.05 <= math.log10(tick) <= high + 0.05]


def with_sizes(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with the column size: n_params as people write it; where it has p_best also p_best_words."""
    words = {"size": ("n_params", size_label), "p_best_words": ("p_best", chance)}
    return frame.with_columns(
        pl.col(column).map_elements(say, return_dtype=pl.String).alias(name)
        for name, (column, say) in words.items()
        if column in frame.columns
    )


def projected(frame: pl.DataFrame) -> tuple[str, str]:
    """What the column mean of a projection holds, in words, and how it is printed; by its column quantity."""
    return ("mean score", ".1%") if frame["quantity"][0] == "score" else ("test loss, nats per token", ".4f")


def span(values: Sequence[float], pad: float = 0.06, floor: float | None = None) -> tuple[float, float]:
    """Ends of a linear axis that shows all finite values with some room; `floor` is never passed downwards."""
    shown = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(shown), max(shown)
    room = (high - low or abs(high) or 1.0) * pad
    return (low - room if floor is None else max(floor, low - room)), high + room


def spread(values: Sequence[float], ends: tuple[float, float], height: float, gap: float = LABEL_GAP) -> list[float]:
    """The values moved apart, so that labels drawn at them do not overlap: at least `gap` pixels between neighbours.

    Groups that would overlap are centred on the mean of their members and kept within the axis.
    """
    low, high = ends
    unit = (high - low) / height * gap
    order = sorted(range(len(values)), key=lambda i: values[i])
    groups: list[list[int]] = []
    middles: list[float] = []
    for i in order:
        groups.append([i])
        middles.append(_within(values[i], low, high, 0.0))
        while len(groups) > 1 and middles[-1] - middles[-2] < unit * (len(groups[-1]) + len(groups[-2])) / 2:
            merged = groups[-2] + groups[-1]
            mean = sum(values[j] for j in merged) / len(merged)
            groups[-2:], middles[-2:] = [merged], [_within(mean, low, high, unit * (len(merged) - 1) / 2)]
    placed = [0.0] * len(values)
    for group, middle in zip(groups, middles, strict=True):
        for k, i in enumerate(group):
            placed[i] = middle + unit * (k - (len(group) - 1) / 2)
    return placed


def _within(value: float, low: float, high: float, room: float) -> float:
    return max(low + room, min(high - room, value)) if high - low > 2 * room else (low + high) / 2


def label_ends(
    frame: pl.DataFrame, y: str, ends: tuple[float, float], facet: str | None = None, height: float = HEIGHT
) -> pl.DataFrame:
    """The frame with end_label and end_y on the last row of each method (in each panel), null elsewhere."""
    keys = ["method_id"] + ([facet] if facet else [])
    frame = frame.with_row_index("row_nr")
    last = frame.filter(pl.col(y).is_not_null()).group_by(keys, maintain_order=True).last()
    parts = []
    for _, part in last.group_by([facet] if facet else [pl.lit(0)], maintain_order=True):
        placed = spread(part[y].to_list(), ends, height)
        parts.append(part.select("row_nr", end_label="method").with_columns(end_y=pl.Series(placed)))
    return frame.join(pl.concat(parts), on="row_nr", how="left", maintain_order="left").drop("row_nr")


def end_labels(base: alt.Chart, scale: alt.Scale) -> alt.Chart:
    """Names at the right edge, in the colour of their series, at the heights that `label_ends` found."""
    return (
        base.transform_filter("isValid(datum.end_label)")
        .mark_text(align="left", dx=10, baseline="middle", clip=False)
        .encode(x=alt.value("width"), y=alt.Y("end_y:Q", scale=scale), text="end_label:N", tooltip=alt.value(None))
    )


def leaders(base: alt.Chart, x: alt.X, y: str, scale: alt.Scale) -> alt.Chart:
    """Thin rules that join points, or the ends of lines, to their names at the right edge."""
    return (
        base.transform_filter("isValid(datum.end_label)")
        .mark_rule(strokeWidth=1, strokeDash=[1, 3], opacity=0.7)
        .encode(x=x, x2=alt.value("width"), y=alt.Y(f"{y}:Q", scale=scale), y2="end_y:Q", tooltip=alt.value(None))
    )


def lines(
    frame: pl.DataFrame,
    x: alt.X,
    y: str,
    title: str,
    *,
    tooltip: list[alt.Tooltip],
    facet: str | None = None,
    facet_order: list[str] | None = None,
    columns: int = 2,
    points: bool = True,
    as_percent: bool = False,
    floor: float | None = None,
    ends: tuple[float, float] | None = None,
    end_anywhere: bool = False,
    own_axes: bool = False,
    height: int = HEIGHT,
) -> alt.TopLevelMixin:
    """One line for each tuning method over `x`, its name at its end; in panels when `facet` names a column.

    With `end_anywhere` lines run from the smallest to the largest base model, wherever that is on `x`, and a thin
    leader joins each end to its name at the right edge, where no name lies on a mark. With `own_axes` each panel has
    a `y` axis of its own. `ends` are those of the `y` axis, else it shows the values with some room.
    """
    order = "n_params" if end_anywhere else _field(x)
    frame = frame.sort(order)
    parts = frame.partition_by(facet, maintain_order=True) if facet and own_axes else [frame]
    frame = pl.concat([_prepare(part, y, facet, floor, height, ends) for part in parts])
    ends = (frame["axis_low"][0], frame["axis_high"][0])
    axis = alt.Axis(format="%" if as_percent else "", tickCount=6)
    scale = alt.Scale(zero=False, nice=False) if own_axes else alt.Scale(domain=list(ends), nice=False)
    where = alt.Y(f"{y}:Q", title=title, axis=axis, scale=scale)
    base = alt.Chart(frame).encode(color=colour(frame))
    line = base.mark_line(interpolate="linear").encode(x=x, y=where, order=f"{order}:Q", tooltip=tooltip)
    layers = [leaders(base, x, y, scale), line] if end_anywhere else [line]
    if points:
        layers.append(base.mark_point().encode(x=x, y=where, shape=shape(frame), tooltip=tooltip))
    if own_axes:
        layers.append(base.mark_rule(opacity=0).encode(y=alt.Y("axis_low:Q", scale=scale), y2="axis_high:Q"))
    chart = alt.layer(*layers, end_labels(base, scale)).properties(height=height)
    if not facet:
        return chart.properties(width=480)
    drawn = panels(chart, facet, facet_order, columns, frame)
    return drawn.resolve_scale(y="independent") if own_axes else drawn


def _prepare(
    frame: pl.DataFrame, y: str, facet: str | None, floor: float | None, height: float,
    ends: tuple[float, float] | None,
) -> pl.DataFrame:  # fmt: skip
    """The frame with the ends of its axis and the places of its labels."""
    low, high = ends or span(frame[y].drop_nulls().to_list(), floor=floor)
    if math.isclose(low, high):
        low, high = low - 0.5, high + 0.5
    placed = label_ends(frame, y, (low, high), facet, height)
    return placed.with_columns(axis_low=pl.lit(low), axis_high=pl.lit(high))


def _field(x: alt.X) -> str:
    encoded: Any = x.to_dict()
    return str(encoded["field"])


def panels(chart: Any, facet: str, order: list[str] | None, columns: int, frame: pl.DataFrame) -> alt.FacetChart:
    """The chart once for each value of `facet`, on the same scales, each with axes of its own."""
    header = alt.Facet(f"{facet}:N", sort=order, title=None)
    columns = min(columns, frame[facet].n_unique())
    return (
        chart.properties(width=300)
        .facet(facet=header, columns=columns, spacing={"row": 34, "column": 28})
        .resolve_axis(x="independent", y="independent")
    )


TIPS = {
    "method": ("method", ""),
    "size": ("base model", ""),
    "task": ("task", ""),
    "metric": ("metric", ""),
    "source": ("what", ""),
    "law": ("law", ""),
    "verdict": ("verdict", ""),
    "fit_id": ("fit", ""),
    "share": ("trainable share", ""),
    "step": ("step", ",d"),
    "n_seeds": ("seeds", ",d"),
    "n_tasks": ("tasks", ",d"),
    "n_trainable": ("trainable parameters", ",d"),
    "loss": ("test loss, nats", ".4f"),
    "loss_nats": ("loss, nats", ".4f"),
    "loss_sd": ("SD over seeds", ".4f"),
    "level": ("level of the intervals", ".0%"),
    "p_best_words": ("probability of being best", ""),
    "mean_score": ("mean score", ".2%"),
    "value": ("score", ".2%"),
    "chance": ("score of guessing", ".1%"),
    "trainable_share": ("trainable share", ".3%"),
    "relative_error": ("relative error", ".2%"),
    "carry_forward_error": ("error of carrying forward", ".2%"),
}
"""Columns that mean the same wherever they appear: their title and format in a tooltip (no format: text)."""

INTERVAL = {"low": "mean, low", "high": "mean, high", "new_low": "one new run, low", "new_high": "one new run, high"}


def tips(*columns: str, **others: tuple[str, str]) -> list[alt.Tooltip]:
    """A tooltip that begins with method and size: columns of TIPS, and others with their title and format."""
    lines = [(name, *TIPS[name]) for name in ("method", "size", *columns)]
    lines += [(name, title, format) for name, (title, format) in others.items()]
    return [
        alt.Tooltip(f"{name}:Q", title=title, format=format) if format else alt.Tooltip(f"{name}:N", title=title)
        for name, title, format in lines
    ]


def interval(format: str, *columns: str) -> dict[str, tuple[str, str]]:
    """For `tips`: the ends of the intervals (all four, or those named)."""
    return {name: (INTERVAL[name], format) for name in columns or INTERVAL}
