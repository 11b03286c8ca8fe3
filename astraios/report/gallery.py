"""The gallery of the documentation: every figure and table, drawn by the program from databases that it is given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from astraios.errors import DataError
from astraios.report.base import FIGURES, SECTIONS, TABLES, Figure, Query, Table
from astraios.report.export import export
from astraios.report.page import HEADINGS

INTRODUCTION = """\
# Gallery

Every figure and table that `astraios report` draws, made by the program itself. A figure is saved on its own with
`astraios report --figure NAME -o FILE` (or by its number in the paper): SVG, PNG, PDF, HTML, Vega-Lite JSON, CSV or
Markdown. What a database has no data for is left out of its report with a sentence that says what to run.
"""


def write_gallery(sources: Mapping[str, Query], folder: Path) -> Path:
    """Writes gallery.md and gallery/*.svg to a folder.

    Args:
        sources: by the words that say where the data come from, what runs SQL on them; each figure and table takes the
            first that has data for it.
        folder: the documentation's folder.

    Returns:
        The path of gallery.md.
    """
    pictures = folder / "gallery"
    pictures.mkdir(parents=True, exist_ok=True)
    out = [INTRODUCTION]
    missing = []
    for section in SECTIONS:
        out.append(f"## {HEADINGS[section]}\n")
        things: list[Figure | Table] = [thing for thing in (*FIGURES, *TABLES) if thing.section == section]
        for thing in sorted(things, key=lambda thing: (thing.order, thing.name)):
            part = _figure(thing, sources, pictures) if isinstance(thing, Figure) else _table(thing, sources)
            if part:
                out.append(part)
            else:
                missing.append(f"- **{_heading(thing)}.** {thing.missing}\n")
    if missing:
        out += ["## Not in this gallery\n", *missing]
    page = folder / "gallery.md"
    page.write_text("\n".join(out), encoding="utf-8")
    return page


def _heading(thing: Figure | Table) -> str:
    kind = "figure" if isinstance(thing, Figure) else "table"
    return f"{thing.title} (the paper's {kind} {thing.number})" if thing.number else thing.title


def _figure(figure: Figure, sources: Mapping[str, Query], pictures: Path) -> str:
    for words, query in sources.items():
        try:
            svg = export(figure.name, query, "svg")
        except DataError:
            continue
        (pictures / f"{figure.name}.svg").write_bytes(svg)
        return (
            f"### {_heading(figure)}\n\n![{figure.title}. {figure.caption}](gallery/{figure.name}.svg)\n\n"
            f"{figure.caption} Name: `{figure.name}`. Data: {words}.\n"
        )
    return ""


def _table(table: Table, sources: Mapping[str, Query]) -> str:
    for words, query in sources.items():
        try:
            text = export(f"table-{table.name}", query, "markdown").decode()
        except DataError:
            continue
        body = text.split("\n", 1)[1]
        return f"### {_heading(table)}\n{body}\nName: `table-{table.name}`. Data: {words}.\n"
    return ""
