"""Tables: laid out, best bold and second underlined, in three languages."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import polars as pl
import pytest

from astraios.errors import UsageError
from astraios.importers.paper import frames
from astraios.report.base import TABLES, Table, find_table
from astraios.report.layout import Grid, lay_out, to_html, to_latex, to_markdown

from . import synthetic
from .conftest import Query


@pytest.fixture(scope="module")
def paper() -> Iterator[Query]:
    with duckdb.connect() as con:
        synthetic.create(con)
        for table, rows in frames().items():
            con.register("incoming", rows)
            con.execute(f"insert into {table} by name select * from incoming")
            con.unregister("incoming")
        yield synthetic.answers(con)


def grid(name: str | int, query: Query) -> Grid:
    table = find_table(name)
    return lay_out(table, query(table.sql))


@pytest.mark.promise("the report's tables are the paper's")
@pytest.mark.parametrize(("number", "cells"), [(1, 28), (2, 56), (3, 168), (4, 224), (5, 56), (7, 30), (8, 30)])
def test_the_tables_of_the_paper_are_complete(number: int, cells: int, paper: Query) -> None:
    laid = grid(number, paper)
    texts = [cell.text for _, rows in laid.blocks for _, row in rows for cell in row]
    assert len(texts) == cells
    assert all(texts)


def test_best_and_second_are_those_of_the_paper(paper: Query) -> None:
    """Table 2 as printed: 16B defect detection, FFT before Parallel; 3B clone detection, P-Tuning before FFT."""
    laid = grid(2, paper)
    places = {
        (name, *column): cell.place
        for name, row in laid.blocks[0][1]
        for column, cell in zip(laid.columns, row, strict=True)
    }
    assert places["FFT", "Defect detection", "15.5B"] == 1
    assert places["Parallel", "Defect detection", "15.5B"] == 2
    assert places["P-Tuning", "Clone detection", "3.04B"] == 1
    assert places["FFT", "Clone detection", "3.04B"] == 2
    assert places["LoRA", "Defect detection", "15.5B"] == 0


def test_lower_is_better_where_it_is(paper: Query) -> None:
    laid = grid("security", paper)
    rows = dict(laid.blocks[0][1])
    last = len(laid.columns) - 1
    assert laid.columns[last] == ("Insecure % ↓", "15.5B")
    assert (rows["(IA)3"][last].text, rows["(IA)3"][last].place) == ("30.4", 1)


def test_a_method_that_lacks_a_size_moves_no_column() -> None:
    rows = [("a", "lora", 2e9), ("a", "fft", 1e9), ("a", "fft", 2e9), ("b", "lora", 2e9), ("b", "fft", 1e9)]
    frame = pl.DataFrame(
        [
            {"row": method, "method_id": method, "head": head, "sub_size": size, "value": 1.0, "better": 0}
            for head, method, size in rows
        ]
    )
    assert lay_out(find_table(2), frame).columns == (("a", "1B"), ("a", "2B"), ("b", "1B"), ("b", "2B"))


def test_ties_share_their_place() -> None:
    frame = pl.DataFrame({"row": ["a", "b", "c"], "head": "", "sub": "x", "value": [1.001, 1.002, 0.5], "better": 1})
    laid = lay_out(find_table(2), frame)
    assert [row[0].place for _, row in laid.blocks[0][1]] == [1, 1, 2]


def test_contradicted_cells_carry_a_note(paper: Query) -> None:
    text = to_markdown(grid(3, paper))
    assert "2.84\\*" in text
    assert "which give 10.37 (LoRA, humanevalsynthesize-java)" in text
    assert "which give 3.17 (FFT, humanevalfix-java)" in text


def test_markdown_and_latex_and_html_say_the_same(paper: Query) -> None:
    table = find_table(2)
    laid = grid(2, paper)
    markdown, latex, html = to_markdown(laid), to_latex(laid, table), to_html(laid)
    assert "**43.65**" in markdown
    assert "<u>42.30</u>" in markdown
    assert r"\textbf{43.65}" in latex
    assert r"\underline{42.30}" in latex
    assert re.search(r"<b[^>]*>43.65</b>", html)
    assert re.search(r"<u[^>]*>42.30</u>", html)
    rows = [line for line in latex.splitlines() if line.endswith(r"\\") and "multicolumn" not in line]
    assert {line.count("&") for line in rows} == {8}


@pytest.mark.parametrize("table", list(TABLES), ids=lambda table: table.name)
def test_every_table_is_laid_out_or_says_what_to_run(table: Table, query: Query, paper: Query) -> None:
    frames = [query(table.sql), paper(table.sql)]
    if all(frame.is_empty() for frame in frames):
        assert table.name == "learning-rates", "several rates are drawn in test_paper_study"
    for frame in frames:
        if not frame.is_empty():
            assert to_html(lay_out(table, frame)).startswith("<table>")
    assert re.search(r"astraios|import", table.missing)


def test_names_from_a_database_can_not_break_out() -> None:
    name = "<b>&|\\input{x}$%_#{}~^"
    frame = pl.DataFrame({"row": [name], "head": "", "sub": "x", "value": [1.0], "better": 1})
    laid = lay_out(find_table(2), frame)
    assert "<b>&" not in to_html(laid)
    assert r"\input" not in to_latex(laid, find_table(2))
    row = to_markdown(laid).splitlines()[2]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3


def test_tables_are_found_by_number_and_name() -> None:
    assert find_table(5) is find_table("t5") is find_table("table-5") is find_table("security")
    with pytest.raises(UsageError, match="no table 9"):
        find_table(9)


def test_columns_stand_in_the_order_of_their_query(con: duckdb.DuckDBPyConnection) -> None:
    """Whatever order the database has rows in: its threads take them as they come."""
    for name, first, last in (("next-runs", "Run", "Left of it"), ("benchmark-quality", "Pairs in order", "Decides"),
                              ("speed-ups", "At the target", "Verdict")):  # fmt: skip
        table = TABLES.get(name)
        frame = con.sql(table.sql).pl()
        columns = [sub or head for head, sub in lay_out(table, frame).columns]
        assert (columns[0], columns[-1]) == (first, last), name
        assert table.sql.endswith("_place"), f"{name}: luck orders its columns"
    marked = lay_out(TABLES.get("next-runs"), con.sql(TABLES.get("next-runs").sql).pl())
    marks = {column[0]: cell.mark for column, cell in zip(marked.columns, marked.blocks[0][1][0][1], strict=True)}
    assert {head for head, mark in marks.items() if mark} == {"Device-hours"}
