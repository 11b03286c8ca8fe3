"""Single figures and tables as files: for a paper, a slide, a wiki; offline and the same bytes every time."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError, did_you_mean, why
from astraios.files import write_atomically
from astraios.report.base import FIGURES, TABLES, Figure, Query, Table, find_figure, find_table
from astraios.report.draw import Drawn, draw, resize
from astraios.report.layout import lay_out, to_html, to_latex, to_markdown
from astraios.report.pdf import settled
from astraios.report.study import Study, choose, fit_state, studies
from astraios.report.theme import config

WIDTHS = {"column": 317, "page": 662}
"""Pixels at 96 an inch: a column of 3.3 inches, and a page of 6.9 inches."""
FIGURE_FORMATS = ("html", "svg", "png", "pdf", "json", "csv", "markdown")
TABLE_FORMATS = ("html", "markdown", "latex", "json", "csv")
NO_SCRIPT = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a page of a single table may load: nothing."""
ENDINGS = {"htm": "html", "md": "markdown", "tex": "latex"}


def save_figure(
    name_or_number: str | int,
    query: Query,
    path: str | Path,
    format: str | None = None,
    *,
    width: str = "page",
    scheme: str = "light",
    study: str | None = None,
) -> Path:
    """Writes one figure, or one table (its name, or table-N), to a file.

    Args:
        name_or_number: name of a figure or table, or a figure's number in the paper.
        query: runs SQL on the database, read only.
        path: the file.
        format: html, svg, png, pdf, json (Vega-Lite), csv or markdown, for tables also latex; by default as the
            file's name ends.
        width: "column" or "page" of a paper.
        scheme: "light" or "dark".
        study: a study by name; needed where the database holds several.

    Raises:
        UsageError: no such figure, format, width or scheme.
        DataError: the database holds no data for it; the line says what to run.
    """
    path = Path(path)
    data = export(name_or_number, query, _format(path, format), width=width, scheme=scheme, study=study)
    try:
        write_atomically(path, data)
    except OSError as error:
        raise DataError(f"{path}: can't be written ({why(error)})") from None
    return path


def export(
    name_or_number: str | int,
    query: Query,
    format: str,
    *,
    width: str = "page",
    scheme: str = "light",
    study: str | None = None,
) -> bytes:
    """What `save_figure` writes, as bytes."""
    _known(width, WIDTHS, "width")
    _known(scheme, ("light", "dark"), "scheme")
    text = str(name_or_number)
    if (text in TABLES and text not in FIGURES) or text.lower().startswith("table-"):
        return _export_table(find_table(text), query, format, study)
    figure = find_figure(text)
    _known(format, FIGURE_FORMATS, "format of a figure")
    return _export_figure(_drawn(figure, query, study), query, format, width, scheme)


def _format(path: Path, given: str | None) -> str:
    ending = path.suffix.removeprefix(".").lower()
    return given or ENDINGS.get(ending, ending) or "html"


def _known(name: str, known: Any, what: str) -> None:
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}: {did_you_mean(name, known)}")


def _drawn(figure: Figure, query: Query, wanted: str | None) -> Drawn:
    """The figure of the wanted study, or of the only one."""
    drawn = draw(figure, query, choose(query, wanted))
    if drawn.spec is not None:
        return drawn
    raise DataError(f"{figure.name}: {figure.missing}")


def _export_figure(drawn: Drawn, query: Query, format: str, width: str, scheme: str) -> bytes:
    if format == "csv":
        return drawn.frame.write_csv().encode()
    if format == "markdown":
        return figure_markdown(drawn).encode()
    if format == "html":
        from astraios.report.page import render_figure

        return render_figure(drawn).encode()
    import vl_convert

    spec, svg = fitted({**(drawn.spec or {}), "config": paper(scheme)}, WIDTHS[width])
    if format == "json":
        return (json.dumps(spec, indent=1, sort_keys=True) + "\n").encode()
    if format == "svg":
        return svg.encode()
    picture = vl_convert.svg_to_pdf(svg) if format == "pdf" else vl_convert.svg_to_png(svg, ppi=288)
    return settled(picture) if format == "pdf" else picture


def paper(scheme: str) -> dict[str, Any]:
    """The scheme on white instead of the page's own shade."""
    return {**config(scheme), **({"background": "#ffffff"} if scheme == "light" else {})}


def fitted(spec: dict[str, Any], room: int) -> tuple[dict[str, Any], str]:
    """The specification whose picture is as wide as `room` pixels, and that picture as SVG."""
    import vl_convert

    columns = max(1, min(spec.get("columns", 1), room // 260)) if "facet" in spec else 1
    if room <= WIDTHS["column"]:
        spec = {**spec, "config": {**spec["config"], "legend": {**spec["config"]["legend"], "columns": 1}}}
    width = room / columns - 120
    for _ in range(3):
        spec = resize(spec, width, columns)
        svg: str = vl_convert.vegalite_to_svg(spec)
        found = re.search(r'<svg[^>]*? width="([\d.]+)"', svg)
        spare = room - float(found[1]) if found else 0.0
        wider = max(80.0, width + spare / columns)
        if abs(spare) < 2 or wider == width:
            break
        width = wider
    return spec, svg


def figure_markdown(drawn: Drawn, limit: int = 200) -> str:
    """Title, caption and the data as a Markdown table (its first `limit` rows)."""
    shown = drawn.frame.drop([name for name in ("origin", "ladder", "dataset_id") if name in drawn.frame.columns])
    shown = shown[[column.name for column in shown if column.null_count() < shown.height]]
    out = [f"### {drawn.figure.title}", "", " ".join(filter(None, (drawn.figure.caption, drawn.seeds))), ""]
    out.append("| " + " | ".join(shown.columns) + " |")
    out.append("|" + "".join(" ---: |" if kind.is_numeric() else " --- |" for kind in shown.dtypes))
    for row in shown.head(limit).rows():
        out.append("| " + " | ".join(_markdown_value(value) for value in row) + " |")
    if shown.height > limit:
        out += ["", f"{shown.height - limit} further rows are left out."]
    if drawn.fit_ids:
        out += ["", "Fits: " + ", ".join(f"`{fit}`" for fit in drawn.fit_ids)]
    return "\n".join(out) + "\n"


def _markdown_value(value: Any) -> str:
    from astraios.report.layout import escape_markdown

    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else escape_markdown(str(value))


def _export_table(table: Table, query: Query, format: str, wanted: str | None) -> bytes:
    _known(format, TABLE_FORMATS, "format of a table")
    study = choose(query, wanted)
    frame = query(study.select(table.sql) if study else table.sql)
    if frame.is_empty():
        raise DataError(f"{table.name}: {table.missing}")
    if format == "csv":
        return frame.write_csv().encode()
    if format == "json":
        return (json.dumps(frame.to_dicts(), indent=1, default=str) + "\n").encode()
    grid = lay_out(table, frame)
    if format == "latex":
        return to_latex(grid, table).encode()
    if format == "markdown":
        return f"### {table.title}\n\n{table.caption}\n\n{to_markdown(grid)}".encode()
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in grid.notes)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{NO_SCRIPT}">'
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{policy}<title>{html.escape(table.title)}</title>\n'
    return f"{head}{to_html(grid)}{notes}</html>\n".encode()


def render_markdown(query: Query, *, title: str = "Scaling report", study: str | None = None) -> str:
    """The report for a wiki or a pull request: summaries, tables, and the data of the figures folded away."""
    from astraios.report.layout import escape_markdown
    from astraios.report.summary import summary

    out = [f"# {escape_markdown(title)}", ""]
    known: list[Study | None] = [choose(query, study)] if study else [*studies(query)]
    for one in known or [None]:
        if one:
            state = fit_state(query, one)
            out += [f"## {escape_markdown(one.title)}", "", f"{one.counts}.", ""]
            out += [
                escape_markdown(text) + "\n"
                for text in (state.axes and f"Compared: {state.axes}.", one.left_out, state.warning)
                if text
            ]
        out += [f"- **{term}.** {escape_markdown(words)}" for term, words in summary(query, one)]
        out.append("")
        for table in TABLES:
            frame = query(one.select(table.sql) if one else table.sql)
            if frame.height:
                out += [f"### {table.title}", "", table.caption, "", to_markdown(lay_out(table, frame))]
        for figure in FIGURES:
            drawn = draw(figure, query, one)
            if drawn.spec is not None:
                summary_line = f"<details><summary>{figure.title}: data</summary>"
                out += [summary_line, "", figure_markdown(drawn, limit=60), "</details>", ""]
    return "\n".join(out) + "\n"
