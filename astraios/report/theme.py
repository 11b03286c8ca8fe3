"""The look: one palette for tuning methods, a light and a dark scheme, and how numbers are written.

The palette starts from Okabe and Ito's colours for colour-blind readers, darkened (light scheme) or lightened (dark
scheme) until each has a contrast of 3:1 against the page; every method has a shape of its own as well.
"""

from __future__ import annotations

import math
from typing import Any

STAR = "M0,-1L.23,-.31L.95,-.31L.36,.12L.59,.81L0,.38L-.59,.81L-.36,.12L-.95,-.31L-.23,-.31Z"
METHODS: tuple[tuple[str, str, str, str], ...] = (
    # method_id, colour in the light scheme, colour in the dark scheme, shape
    ("lora", "#c2410c", "#ff8a5c", "square"),
    ("ptuning", "#1d4ed8", "#7aa5ff", "diamond"),
    ("adapterh", "#a21caf", "#e68af0", "triangle-up"),
    ("adapterp", "#a16207", "#e9b949", "triangle-down"),
    ("parallel", "#0284c7", "#6fd0ff", "cross"),
    ("ia3", "#047857", "#3fcf9f", "triangle-right"),
    ("fft", "#1f2328", "#f3f1ea", "circle"),
    ("prompt", "#7c5a45", "#c9a58c", "triangle-left"),
    ("adalora", "#be123c", "#ff8fa3", STAR),
)
OTHERS: tuple[tuple[str, str, str], ...] = (
    ("#5b6470", "#a9b1bd", "circle"),
    ("#4d7c0f", "#a3d65c", "square"),
    ("#6d28d9", "#b79cff", "diamond"),
    ("#0f766e", "#5fd6c9", "triangle-up"),
)
"""Colours and shapes of methods that the paper doesn't have, reused in turn."""

ORDER = [method[0] for method in METHODS]
FONT = "system-ui, -apple-system, 'Segoe UI', 'Liberation Sans', Arial, sans-serif"
SCHEMES: dict[str, dict[str, Any]] = {
    "light": {
        "ink": "#1f2328",
        "soft": "#57606a",
        "grid": "#e4e2da",
        "page": "#fdfcf9",
        "accent": "#9a3412",
        "roles": ["#1f2328", "#0f766e", "#b4400f", "#6d28d9"],
    },
    "dark": {
        "ink": "#ece9e1",
        "soft": "#a8a59b",
        "grid": "#34363b",
        "page": "#16181c",
        "accent": "#ffb088",
        "roles": ["#f3f1ea", "#5fd6c9", "#ff9a70", "#b79cff"],
    },
}


def method_domain(present: list[str]) -> list[str]:
    """The methods of the paper in its order, then the others of `present` by name: a method keeps its colour."""
    return ORDER + sorted(set(present) - set(ORDER))


def palette(scheme: str, n: int) -> list[str]:
    """Colours for the first `n` of `method_domain`."""
    column = 1 if scheme == "light" else 2
    colours = [method[column] for method in METHODS]
    return (colours + [OTHERS[i % len(OTHERS)][column - 1] for i in range(max(0, n - len(colours)))])[:n]


def shapes(n: int) -> list[str]:
    """Shapes for the first `n` of `method_domain`."""
    known = [method[3] for method in METHODS]
    return (known + [OTHERS[i % len(OTHERS)][2] for i in range(max(0, n - len(known)))])[:n]


def config(scheme: str) -> dict[str, Any]:
    """Vega-Lite configuration of a scheme (light or dark)."""
    c = SCHEMES[scheme]
    return {
        "background": c["page"],
        "font": FONT,
        "view": {"stroke": None},
        "axis": {
            "labelColor": c["soft"], "titleColor": c["soft"], "gridColor": c["grid"], "domainColor": c["soft"],
            "tickColor": c["soft"], "labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal",
            "titlePadding": 8, "tickSize": 4, "labelSeparation": 6,
        },
        "axisX": {"grid": False, "labelPadding": 5},
        "axisY": {"domain": False, "ticks": False, "titleAlign": "left", "titleAngle": 0, "titleAnchor": "start",
                  "titleX": 0, "titleY": -12, "titleBaseline": "bottom"},
        "title": {"color": c["soft"], "fontSize": 11, "fontWeight": "normal", "anchor": "start", "offset": 8},
        "header": {"labelColor": c["ink"], "labelFontSize": 13, "labelFontWeight": 600, "labelAnchor": "start",
                   "labelPadding": 4, "title": None},
        "legend": {"labelColor": c["soft"], "titleColor": c["soft"], "labelFontSize": 12, "titleFontSize": 12,
                   "titleFontWeight": "normal", "orient": "top", "symbolStrokeWidth": 2, "symbolOpacity": 1,
                   "labelLimit": 280},
        "range": {"category": palette(scheme, 24), "symbol": shapes(24), "ordinal": c["roles"]},
        "mark": {"color": c["accent"]},
        "line": {"strokeWidth": 2},
        "point": {"size": 55, "filled": True, "opacity": 1},
        "text": {"fontSize": 12, "color": c["ink"]},
        "rule": {"color": c["soft"]},
        "bar": {"color": c["soft"]},
        "style": {
            "ink": {"fill": c["ink"], "stroke": c["ink"]},
            "ink-line": {"stroke": c["ink"]},
            "soft-line": {"stroke": c["soft"]},
            "soft-text": {"fill": c["soft"]},
            "halo": {"fill": c["page"], "stroke": c["page"], "strokeWidth": 4},
        },
    }  # fmt: skip


def size_label(n: float) -> str:
    """A number of parameters as people write it, to three significant digits: 23.4k, 1.14B, 15.5B."""
    if n <= 0 or not math.isfinite(n):
        return str(n)
    for unit, scale in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if n >= 0.995 * scale:
            return f"{float(f'{n / scale:.3g}'):g}{unit}"
    return f"{n:g}"


def percent(fraction: float) -> str:
    """A fraction as per cent, to two significant digits below 10 %: 0.023%, 1.5%, 6.0%, 34%."""
    value = float(f"{100 * fraction:.2g}")
    if abs(value) >= 10 or not value or not math.isfinite(value):
        return f"{100 * fraction:.0f}%"
    return f"{value:.{1 - math.floor(math.log10(abs(value)))}f}%"


def chance(probability: float) -> str:
    """A probability from a finite number of draws, never certain in either direction: >99%, 97%, <1%."""
    return ">99%" if probability > 0.99 else "<1%" if probability < 0.01 else f"{probability:.0%}"


def clip(text: str, limit: int = 60) -> str:
    """Text from a database as it may be shown: without control characters, cut to `limit` characters."""
    head = "".join(c if c.isprintable() else " " for c in text[: limit + 1])
    return head if len(head) <= limit else head[: limit - 1] + "…"
