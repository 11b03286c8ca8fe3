"""Single figures and tables as files: for a paper, a slide, a wiki; offline and the same bytes every time."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from astraios.errors import DataError, UsageError, did_you_mean, why
from astraios.files import write_atomically
from astraios.report.base import FIGURES, TABLES, Figure, Query, Table, find_figure, find_table, on_reducible_axis
from astraios.report.caveats import Caveats, fits_of
from astraios.report.draw import Drawn, draw, resize
from astraios.report.layout import lay_out, to_html, to_latex, to_markdown
from astraios.report.pdf import settled
from astraios.report.study import Study, choose, studies
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
    reducible: bool = False,
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
        reducible: the axis of losses without the floor that was fitted.

    Raises:
        UsageError: no such figure, format, width or scheme; a figure whose axis can't be reducible loss.
        DataError: the database holds no data for it; the line says what to run.
    """
    path = Path(path)
    data = export(name_or_number, query, _format(path, format), width=width, scheme=scheme, study=study,
                  reducible=reducible)  # fmt: skip
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
    reducible: bool = False,
) -> bytes:
    """What `save_figure` writes, as bytes."""
    _known(width, WIDTHS, "width")
    _known(scheme, ("light", "dark"), "scheme")
    thing = _find(name_or_number, reducible)
    chosen = choose(query, study)
    if isinstance(thing, Table):
        return _export_table(thing, query, format, chosen)
    _known(format, FIGURE_FORMATS, "format of a figure")
    drawn = _drawn(thing, query, chosen)
    beside = fits_of(query, chosen).beside(thing, drawn.fit_ids)
    return _export_figure(drawn, beside, format, width, scheme)


def caveats(
    name_or_number: str | int, query: Query, study: str | None = None, reducible: bool = False
) -> tuple[str, ...]:
    """What must be known beside a figure or table that is exported, line by line: for formats that hold data alone."""
    thing, chosen = _find(name_or_number, reducible), choose(query, study)
    drawn = draw(thing, query, chosen).fit_ids if isinstance(thing, Figure) else ()
    return fits_of(query, chosen).beside(thing, drawn).lines


def _find(name_or_number: str | int, reducible: bool) -> Figure | Table:
    text = str(name_or_number)
    if (text in TABLES and text not in FIGURES) or text.lower().startswith("table-"):
        table = find_table(text)
        if reducible:
            raise UsageError(f"--reducible: {table.name} is a table, and has no axis")
        return table
    figure = find_figure(text)
    return on_reducible_axis(figure) if reducible else figure


def _format(path: Path, given: str | None) -> str:
    ending = path.suffix.removeprefix(".").lower()
    return given or ENDINGS.get(ending, ending) or "html"


def _known(name: str, known: Any, what: str) -> None:
    if name not in known:
        raise UsageError(f"unknown {what} {name!r}: {did_you_mean(name, known)}")


def _drawn(figure: Figure, query: Query, study: Study | None) -> Drawn:
    """The figure of a study."""
    drawn = draw(figure, query, study)
    if drawn.spec is not None:
        return drawn
    raise DataError(f"{figure.name}: {figure.missing}")


def _export_figure(drawn: Drawn, beside: Caveats, format: str, width: str, scheme: str) -> bytes:
    if format == "csv":
        return drawn.frame.write_csv().encode()
    if format == "markdown":
        return figure_markdown(drawn, beside).encode()
    if format == "html":
        from astraios.report.page import render_figure

        return render_figure(drawn, beside).encode()
    import vl_convert

    room = WIDTHS[width]
    made = drawn.spec or {}
    title = beside.title(room, scheme, made.get("title", ()))
    spec, svg = fitted({**made, **title, "config": paper(scheme)}, room)
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


def figure_markdown(drawn: Drawn, beside: Caveats, limit: int = 200) -> str:
    """Title, what must stand beside it, caption and the data as a Markdown table (its first `limit` rows)."""
    shown = drawn.frame.drop([name for name in ("origin", "ladder", "dataset_id") if name in drawn.frame.columns])
    shown = shown[[column.name for column in shown if column.null_count() < shown.height]]
    out = [_heading(drawn.figure, beside), "", *beside.markdown()]
    out += [" ".join(filter(None, (drawn.figure.caption, drawn.seeds))), ""]
    out.append("| " + " | ".join(shown.columns) + " |")
    out.append("|" + "".join(" ---: |" if kind.is_numeric() else " --- |" for kind in shown.dtypes))
    for row in shown.head(limit).rows():
        out.append("| " + " | ".join(_markdown_value(value) for value in row) + " |")
    if shown.height > limit:
        out += ["", f"{shown.height - limit} further rows are left out."]
    if drawn.fit_ids:
        out += ["", "Fits: " + ", ".join(f"`{fit}`" for fit in drawn.fit_ids)]
    return "\n".join(out) + "\n"


def _heading(thing: Figure | Table, beside: Caveats) -> str:
    return f"### {thing.title}{' (stale)' if beside.stale else ''}"


def _markdown_value(value: Any) -> str:
    from astraios.report.layout import escape_markdown

    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else escape_markdown(str(value))


def _export_table(table: Table, query: Query, format: str, study: Study | None) -> bytes:
    _known(format, TABLE_FORMATS, "format of a table")
    frame = query(study.select(table.sql) if study else table.sql)
    if frame.is_empty():
        raise DataError(f"{table.name}: {table.missing}")
    if format == "csv":
        return frame.write_csv().encode()
    if format == "json":
        return (json.dumps(frame.to_dicts(), indent=1, default=str) + "\n").encode()
    grid, beside = lay_out(table, frame), fits_of(query, study).beside(table)
    grid = replace(grid, notes=(*beside.lines, *grid.notes))
    if format == "latex":
        return to_latex(grid, table).encode()
    if format == "markdown":
        return f"{_heading(table, beside)}\n\n{table.caption}\n\n{to_markdown(grid)}".encode()
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in grid.notes)
    policy = f'<meta http-equiv="Content-Security-Policy" content="{NO_SCRIPT}">'
    head = f'<!doctype html>\n<html lang="en"><meta charset="utf-8">{policy}<title>{html.escape(table.title)}</title>\n'
    return f"{head}{to_html(grid)}{notes}</html>\n".encode()


def render_markdown(query: Query, *, title: str = "Scaling report", study: str | None = None) -> str:
    """The report for a wiki or a pull request: summaries, tables, and the data of the figures folded away.

    What the fits warned of stands above the fold.
    """
    from astraios.report.layout import escape_markdown

    out = [f"# {escape_markdown(title)}", ""]
    known: list[Study | None] = [choose(query, study)] if study else [*studies(query)]
    for one in known or [None]:
        out += _markdown_part(query, one)
    return "\n".join(out) + "\n"


def _markdown_part(query: Query, study: Study | None) -> list[str]:
    from astraios.report.layout import escape_markdown
    from astraios.report.summary import summary

    out, fits = [], fits_of(query, study)
    if study:
        out += [f"## {escape_markdown(study.title)}", "", f"{study.counts}.", ""]
        axes = fits.state.axes and f"Compared: {fits.state.axes}."
        out += [escape_markdown(text) + "\n" for text in (axes, study.left_out) if text]
        out += Caveats(fits.state.warning).markdown()
    out += [f"- **{term}.** {escape_markdown(words)}" for term, words in summary(query, study)]
    out.append("")
    for table in TABLES:
        frame = query(study.select(table.sql) if study else table.sql)
        if frame.height:
            beside = fits.beside(table)
            out += [_heading(table, beside), "", *beside.markdown(), table.caption, ""]
            out.append(to_markdown(lay_out(table, frame)))
    for figure in FIGURES:
        drawn = draw(figure, query, study)
        if drawn.spec is not None:
            out += _folded(drawn, fits.beside(figure, drawn.fit_ids))
    return out


def _folded(drawn: Drawn, beside: Caveats) -> list[str]:
    """A figure whose data unfold; what must stand beside it does so whether they are unfolded or not."""
    head = [_heading(drawn.figure, beside), "", *beside.markdown()] if beside.lines else []
    data = figure_markdown(drawn, Caveats(), limit=60)
    return [*head, f"<details><summary>{drawn.figure.title}: data</summary>", "", data, "</details>", ""]
