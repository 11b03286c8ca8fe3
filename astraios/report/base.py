"""What a figure and a table of the report are, and where they are found: one small file each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from astraios.errors import UsageError
from astraios.registry import Registry

if TYPE_CHECKING:
    import altair as alt
    import polars as pl

Query = Callable[[str], "pl.DataFrame"]
"""Runs one statement of SQL, read only, and gives its rows."""

SECTIONS = ("projection", "planning", "loss", "score", "robustness", "trust", "cost")
"""Sections of the page, in order."""


@dataclass(frozen=True)
class Figure:
    """A chart of the report: the query that selects its data and the function that draws them."""

    name: str
    """Short name for files and the command line, for instance final-loss."""
    title: str
    section: str
    """One of SECTIONS."""
    caption: str
    """What is drawn, with units, and how to read it."""
    sql: str
    """Reads the views, as if they held one study: they are limited to it before the query runs."""
    draw: Callable[[pl.DataFrame], alt.TopLevelMixin]
    """Draws the rows of `sql`, of one study; never called without rows."""
    missing: str
    """Says what to run when the query gives no rows."""
    number: int | None = None
    """Number of the figure in the paper (ASTRAIOS, arXiv 2401.00788)."""
    order: int = 50
    """Place within its section."""
    reducible_of: str | None = None
    """Name of the figure that this one draws on an axis of reducible loss: the page shows it in that one's place, on
    request."""


@dataclass(frozen=True)
class Table:
    """A table of the report, selected in long form and laid out by `astraios.report.layout`.

    The query gives the columns block (group of rows), row (text or method), head (group of
    columns), sub (column), value (double) or text (varchar); better (1 higher, -1 lower, 0 neither: what is bold),
    and optionally note (marks a cell, and is printed below the table).
    """

    name: str
    title: str
    section: str
    caption: str
    sql: str
    missing: str
    corner: str = "Method"
    """Heading of the first column."""
    format: str = "{:.2f}"
    """How a value is printed; fractions that are printed per cent are multiplied in the query."""
    number: int | None = None
    """Number of the table in the paper."""
    order: int = 50


FIGURES: Registry[Figure] = Registry(Figure, "astraios.report.figures", "figure", group="astraios.figures")
TABLES: Registry[Table] = Registry(Table, "astraios.report.tables", "table", group="astraios.tables")


def find_figure(name_or_number: str | int) -> Figure:
    """The figure with this name, or with this number in the paper.

    Raises:
        UsageError: there is none.
    """
    text = str(name_or_number).strip()
    if text.isdigit():
        for figure in FIGURES:
            if figure.number == int(text):
                return figure
        numbers = sorted(figure.number for figure in FIGURES if figure.number)
        raise UsageError(f"no figure {text} in the paper: its figures are {numbers[0]} to {numbers[-1]}")
    return FIGURES.get(text)


def on_reducible_axis(figure: Figure) -> Figure:
    """The same figure on an axis of reducible loss.

    Raises:
        UsageError: there is none.
    """
    for other in FIGURES:
        if figure.name in (other.reducible_of, other.name) and other.reducible_of:
            return other
    those = ", ".join(other.reducible_of for other in FIGURES if other.reducible_of)
    raise UsageError(f"--reducible: {figure.name} has no axis of reducible loss (there is one for {those})")


def find_table(name_or_number: str | int) -> Table:
    """The table with this name, or with this number in the paper (5, t5 or table-5; a name may begin with table- too).

    Raises:
        UsageError: there is none.
    """
    text = str(name_or_number).strip().lower().removeprefix("table-")
    number = text.removeprefix("t")
    if number.isdigit():
        for table in TABLES:
            if table.number == int(number):
                return table
        numbers = ", ".join(str(n) for n in sorted(table.number for table in TABLES if table.number))
        raise UsageError(f"no table {number}: the paper's tables that can be drawn are {numbers}")
    return TABLES.get(text)
