"""Every figure: draws its rows, keeps to the contract, and says what is missing."""

from __future__ import annotations

import itertools
import re

import duckdb
import pytest

from astraios.errors import UsageError
from astraios.report.base import FIGURES, SECTIONS, find_figure
from astraios.report.draw import draw, specification
from astraios.report.marks import spread
from astraios.report.study import choose
from astraios.report.theme import METHODS, SCHEMES, percent, size_label

from .conftest import Query


@pytest.mark.parametrize("name", FIGURES.names())
def test_a_figure_draws_what_its_query_gives(name: str, query: Query) -> None:
    figure = FIGURES.get(name)
    assert figure.section in SECTIONS
    drawn = draw(figure, query, choose(query))
    if drawn.spec is not None:
        figure.draw(drawn.frame).to_dict()  # checks it against the schema of Vega-Lite
    assert {"origin", "ladder", "dataset_id"} <= set(drawn.frame.columns)
    if drawn.frame.is_empty():
        assert drawn.spec is None
        return
    assert drawn.spec is not None
    rows = max(drawn.spec["datasets"].values(), key=len)
    assert len(rows) == drawn.frame.height
    numbers = [c for c, kind in drawn.frame.schema.items() if kind.is_numeric() and c in rows[0]]
    assert numbers
    for column in numbers:
        assert sorted(r[column] for r in rows if r[column] is not None) == sorted(drawn.frame[column].drop_nulls())


@pytest.mark.parametrize("name", FIGURES.names())
def test_a_figure_without_rows_has_a_sentence(name: str, empty_query: Query) -> None:
    drawn = draw(FIGURES.get(name), empty_query, None)
    assert drawn.spec is None
    assert re.search(r"astraios|import", drawn.figure.missing)


def test_a_specification_is_the_same_every_time(query: Query) -> None:
    figure = FIGURES.get("final-loss")
    frame = query(figure.sql)
    assert specification(figure.draw(frame)) == specification(figure.draw(frame))


def test_figures_are_found_by_name_and_number() -> None:
    assert find_figure(3) is find_figure("3") is find_figure("final-loss")
    with pytest.raises(UsageError, match="no figure 99"):
        find_figure(99)
    with pytest.raises(UsageError, match="did you mean 'final-loss'"):
        find_figure("final-los")


def test_labels_are_moved_apart_and_stay_on_the_axis() -> None:
    placed = spread([1.0, 1.01, 1.02, 5.0], (0.0, 5.0), 100, gap=10)
    ordered = sorted(placed)
    assert all(b - a >= 0.5 - 1e-9 for a, b in itertools.pairwise(ordered))
    assert placed == ordered
    assert max(placed) <= 5.0
    assert spread([2.0], (0.0, 5.0), 100) == [2.0]


@pytest.mark.parametrize(
    ("n", "text"), [(23_360, "23.4k"), (999_999, "1M"), (1_137_207_296, "1.14B"), (15_517_456_384, "15.5B"), (7, "7")]
)
def test_sizes_as_people_write_them(n: int, text: str) -> None:
    assert size_label(n) == text


@pytest.mark.parametrize(("x", "text"), [(0.000234, "0.023%"), (0.0154, "1.5%"), (0.34, "34%"), (1.0, "100%")])
def test_shares_as_people_write_them(x: float, text: str) -> None:
    assert percent(x) == text


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_colours_stand_out_from_the_page(scheme: str) -> None:
    colours = SCHEMES[scheme]
    page = luminance(colours["page"])

    def contrast(colour: str) -> float:
        low, high = sorted((luminance(colour), page))
        return (high + 0.05) / (low + 0.05)

    assert contrast(colours["ink"]) >= 7
    assert contrast(colours["soft"]) >= 4.5
    assert contrast(colours["accent"]) >= 4.5
    column = 1 if scheme == "light" else 2
    assert min(contrast(method[column]) for method in METHODS) >= 3.5
    assert min(contrast(colour) for colour in colours["roles"]) >= 4.5


def test_methods_differ_in_shape_as_well() -> None:
    assert len({method[3] for method in METHODS}) == len(METHODS)


def test_the_query_of_a_figure_only_reads(con: duckdb.DuckDBPyConnection) -> None:
    for figure in FIGURES:
        assert figure.sql.lstrip().lower().startswith(("select", "with"))
        assert ";" not in figure.sql
