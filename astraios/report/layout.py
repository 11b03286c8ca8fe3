"""Tables: from long rows to a grid, and from a grid to HTML, Markdown and LaTeX."""

from __future__ import annotations

import html
from dataclasses import dataclass
from functools import partial
from typing import Any

import polars as pl

from astraios.report.base import Table
from astraios.report.theme import clip, method_domain, size_label

MARKS = "*†‡§"
LIMITS = {"text": 200, "note": 400}


@dataclass(frozen=True)
class Cell:
    """One value as it is printed."""

    text: str
    place: int = 0
    """1 for the best of its column, 2 for the second, 0 for the others."""
    mark: str = ""
    """Sign of a note below the table."""


@dataclass(frozen=True)
class Grid:
    """A table ready to be written."""

    corner: str
    columns: tuple[tuple[str, str], ...]
    """Head (group of columns, may be empty) and name of each."""
    blocks: tuple[tuple[str, tuple[tuple[str, tuple[Cell, ...]], ...]], ...]
    """Name of each group of rows (may be empty) with its rows: name and cells."""
    notes: tuple[str, ...]


def lay_out(table: Table, frame: pl.DataFrame) -> Grid:
    """Arranges the rows of a table's query: see `astraios.report.base.Table` for its columns.

    Rows come in the order of the tuning methods where there is method_id, otherwise, like columns and groups, in the
    order of the query.
    """
    frame = _named(frame)
    columns = _columns(frame).rows()
    names = frame["block"].unique(maintain_order=True).to_list()
    notes = frame["note"].drop_nulls().unique(maintain_order=True).to_list() if "note" in frame.columns else []
    marks = {note: MARKS[i % len(MARKS)] for i, note in enumerate(notes)}
    blocks = []
    for name in names:
        part = frame.filter(pl.col("block") == name)
        cells = {(row["row"], row["head"], row["sub"]): row for row in part.iter_rows(named=True)}
        rows = part["row"].unique(maintain_order=True).to_list()
        places = _places(table, rows, columns, cells)
        blocks.append(
            (name, tuple(
                (row, tuple(_cell(table, cells.get((row, *column)), places.get((row, *column), 0), marks)
                            for column in columns))
                for row in rows
            ))
        )  # fmt: skip
    return Grid(table.corner, tuple(columns), tuple(blocks), tuple(f"{marks[note]} {note}" for note in notes))


def _columns(frame: pl.DataFrame) -> pl.DataFrame:
    """Head and name of each column: groups as the query has them, and within them sizes from the smallest.

    A method that lacks a size does not move it behind the others.
    """
    sizes = "sub_size" if "sub_size" in frame.columns else pl.lit(0).alias("sub_size")
    found = frame.select("head", "sub", sizes).unique(["head", "sub"], keep="first", maintain_order=True)
    heads = found["head"].unique(maintain_order=True).to_list()
    place = pl.col("head").replace_strict(heads, range(len(heads)), return_dtype=pl.Int64)
    return found.sort(place, "sub_size", maintain_order=True).select("head", "sub")


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns that a query may leave out, sizes as people write them, methods in their order, text that fits."""
    for name in ("block", "head", "sub"):
        if name not in frame.columns:
            frame = frame.with_columns(pl.lit("").alias(name))
    for name in ("row", "sub"):
        if f"{name}_size" in frame.columns:
            sizes = pl.col(f"{name}_size").cast(pl.Float64).map_elements(size_label, return_dtype=pl.String)
            frame = frame.with_columns(pl.coalesce(sizes, name if name in frame.columns else pl.lit("")).alias(name))
    if "method_id" in frame.columns:
        order = method_domain(frame["method_id"].drop_nulls().unique().to_list())
        places = pl.col("method_id").replace_strict(order, range(len(order)), default=len(order))
        columns = _columns(frame).with_row_index("column_nr")
        groups = frame.select("block").unique(maintain_order=True).with_row_index("block_nr")
        frame = frame.join(columns, on=["head", "sub"]).join(groups, on="block").with_columns(row_nr=places)
        frame = frame.sort("block_nr", "row_nr", "column_nr", maintain_order=True)
    text = [name for name in ("block", "row", "head", "sub", "text", "note") if name in frame.columns]
    return frame.with_columns(
        pl.col(name).cast(pl.String).map_elements(partial(clip, limit=LIMITS.get(name, 60)), return_dtype=pl.String)
        for name in text
    ).with_columns(pl.col("block", "head", "sub").fill_null(""))


def _places(
    table: Table, rows: list[str], columns: list[tuple[Any, ...]], cells: dict[tuple[Any, ...], dict[str, Any]]
) -> dict[tuple[Any, ...], int]:
    """First and second of each column, as printed: equal texts share a place."""
    places = {}
    for column in columns:
        found = [(row, cells[row, *column]) for row in rows if (row, *column) in cells]
        known = [(row, cell) for row, cell in found if cell.get("better") and cell["value"] is not None]
        if len(known) < 2:
            continue
        printed = {row: float(f"{cell['value']:.10g}") * cell["better"] for row, cell in known}
        printed = {row: round(value, _digits(table.format)) for row, value in printed.items()}
        ranks = sorted(set(printed.values()), reverse=True)[:2]
        for row, value in printed.items():
            if value in ranks:
                places[(row, *column)] = ranks.index(value) + 1
    return places


def _digits(form: str) -> int:
    return int(form.split(".")[1][0]) if "." in form else 0


def _cell(table: Table, row: dict[str, Any] | None, place: int, marks: dict[str, str]) -> Cell:
    if row is None:
        return Cell("")
    text = row.get("text")
    if text is None:
        text = "" if row.get("value") is None else table.format.format(row["value"]) + (row.get("suffix") or "")
    return Cell(text, place, marks.get(row.get("note") or "", ""))


def _heads(grid: Grid) -> list[tuple[str, int]]:
    """Groups of neighbouring columns with their widths."""
    heads: list[tuple[str, int]] = []
    for head, _ in grid.columns:
        if heads and heads[-1][0] == head:
            heads[-1] = (head, heads[-1][1] + 1)
        else:
            heads.append((head, 1))
    return heads


def to_html(grid: Grid) -> str:
    """An HTML table: best bold, second underlined; both also said in words for those who don't see it."""
    out = ["<table><thead>"]
    if any(head for head, _ in grid.columns):
        spans = "".join(f'<th colspan="{n}" scope="colgroup">{html.escape(head)}</th>' for head, n in _heads(grid))
        out.append(f'<tr><th scope="col">{html.escape(grid.corner)}</th>{spans}</tr>')
        first = "<td></td>"
    else:
        first = f'<th scope="col">{html.escape(grid.corner)}</th>'
    names = "".join(f'<th scope="col">{html.escape(name)}</th>' for _, name in grid.columns)
    out.append(f"<tr>{first}{names}</tr></thead><tbody>" if any(n for _, n in grid.columns) else "</thead><tbody>")
    for block, rows in grid.blocks:
        if block:
            span = len(grid.columns) + 1
            out.append(f'<tr class="block"><th colspan="{span}" scope="rowgroup">{html.escape(block)}</th></tr>')
        for name, cells in rows:
            line = "".join(f"<td>{_html_cell(cell)}</td>" for cell in cells)
            out.append(f'<tr><th scope="row">{html.escape(name)}</th>{line}</tr>')
    out.append("</tbody></table>")
    return "".join(out)


def _html_cell(cell: Cell) -> str:
    text = html.escape(cell.text)
    if cell.place:
        tag, word = ("b", "best") if cell.place == 1 else ("u", "second")
        text = f'<{tag} title="{word} of its column">{text}</{tag}>'
    return text + (f"<sup>{html.escape(cell.mark)}</sup>" if cell.mark else "")


def to_markdown(grid: Grid) -> str:
    """A GitHub-flavoured table; the groups of columns and rows become part of the names."""
    names = [" ".join(filter(None, column)) for column in grid.columns]
    blocks = any(block for block, _ in grid.blocks)
    out = [_row([*([""] if blocks else []), grid.corner, *names])]
    out.append("|" + " --- |" * (1 + blocks) + " ---: |" * len(names))
    for block, rows in grid.blocks:
        for name, cells in rows:
            out.append(
                _row([*([block] if blocks else []), name, *(_markdown_cell(cell) for cell in cells)], raw=len(cells))
            )
    return "\n".join([*out, *(f"\n{escape_markdown(note)}" for note in grid.notes)]) + "\n"


def _row(cells: list[str], raw: int = 0) -> str:
    kept = [escape_markdown(cell) for cell in cells[: len(cells) - raw]] + cells[len(cells) - raw :]
    return "| " + " | ".join(kept) + " |"


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is."""
    text = html.escape(text, quote=False)
    for character in "\\|*_`[]":
        text = text.replace(character, "\\" + character)
    return text.replace("\n", " ")


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell.text)
    text = f"**{text}**" if cell.place == 1 else f"<u>{text}</u>" if cell.place == 2 else text
    return text + escape_markdown(cell.mark)


def to_latex(grid: Grid, table: Table) -> str:
    """A table environment for booktabs: `\\usepackage{booktabs}`."""
    heads = _heads(grid)
    out = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(table.title)}. {_latex(table.caption)}}}",
        rf"\label{{tab:{table.name}}}",
        rf"\begin{{tabular}}{{l{'r' * len(grid.columns)}}}",
        r"\toprule",
    ]
    if any(head for head, _ in heads):
        spans = " & ".join(rf"\multicolumn{{{n}}}{{c}}{{{_latex(head)}}}" for head, n in heads)
        out.append(rf" & {spans} \\")
    out.append(rf"{_latex(grid.corner)} & {' & '.join(_latex(name) for _, name in grid.columns)} \\")
    for block, rows in grid.blocks:
        out.append(r"\midrule")
        if block:
            out.append(rf"\multicolumn{{{len(grid.columns) + 1}}}{{l}}{{\emph{{{_latex(block)}}}}} \\")
        for name, cells in rows:
            out.append(rf"{_latex(name)} & {' & '.join(_latex_cell(cell) for cell in cells)} \\")
    out += [r"\bottomrule", r"\end{tabular}"]
    out += [rf"\par\footnotesize {_latex(note)}" for note in grid.notes]
    return "\n".join([*out, r"\end{table}"]) + "\n"


LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "τ": r"$\tau$", "†": r"\dag{}", "‡": r"\ddag{}",
    "§": r"\S{}", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "–": "--", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _latex_cell(cell: Cell) -> str:
    text = _latex(cell.text)
    text = rf"\textbf{{{text}}}" if cell.place == 1 else rf"\underline{{{text}}}" if cell.place == 2 else text
    return text + (rf"\textsuperscript{{{_latex(cell.mark)}}}" if cell.mark else "")
