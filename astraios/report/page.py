"""The report: one HTML file that needs no network."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from astraios import __version__
from astraios.report import controls, forecasts
from astraios.report.base import FIGURES, SECTIONS, TABLES, Figure, Query, Table
from astraios.report.caveats import Caveats, fits_of
from astraios.report.draw import KEYS, Drawn, draw, specification
from astraios.report.runs import MOST, runs, series
from astraios.report.study import Study, choose, studies
from astraios.report.summary import summary
from astraios.report.theme import clip, config

HEADINGS = {
    "projection": "Projection",
    "planning": "Planning",
    "loss": "Loss",
    "score": "Scores",
    "robustness": "Robustness and security",
    "trust": "How far to trust it",
    "cost": "Cost",
}


@dataclass(frozen=True)
class Item:
    """A figure or table as the template shows it."""

    id: str
    title: str
    caption: str
    sql: str
    rows: Markup
    file: str
    fits: list[str] = field(default_factory=list)
    spec: Markup | None = None
    alt: str = ""
    table: Markup | None = None
    caveats: Caveats = field(default_factory=Caveats)
    reducible: Item | None = None
    """The same on an axis of reducible loss, shown in its place on request."""


def render_page(
    query: Query, *, title: str = "Scaling report", live: str = "", study: str | None = None,
    running: Sequence[Mapping[str, Any]] = (),
) -> str:  # fmt: skip
    """The whole report as HTML.

    Args:
        query: runs one statement of SQL on the database, read only, and gives its rows.
        title: heading of the page.
        live: JavaScript that the server adds to reload the page; empty for a file.
        study: a study by name (several with commas are joined); by default all, each by itself.
        running: forecasts of the runs that are in training (`astraios.workflow.forecast`).
    """
    wanted = choose(query, study) if study else None
    known = [wanted] if wanted else studies(query)
    parts = [_part(query, study, i) for i, study in enumerate(known)] or [_part(query, None, 0)]
    subtitle = "; ".join(f"{study.title}: {study.counts}" for study in known) or "An empty database"
    return _render(parts, title, subtitle, live, _running(running))


def render_figure(drawn: Drawn, caveats: Caveats) -> str:
    """A page with a single figure, and what must stand beside it."""
    figure = drawn.figure
    part = {
        "id": "figure",
        "title": figure.title,
        "summary": [],
        "missing": [],
        "single": True,
        "sections": [
            {
                "id": figure.section,
                "title": HEADINGS[figure.section],
                "shown": [replace(_item(drawn, ""), caveats=caveats)],
            }
        ],
    }
    return _render([part], figure.title, "", "")  # fmt: skip


def _running(rows: Sequence[Mapping[str, Any]]) -> Item | None:
    """The forecasts of runs that are in training."""
    if not rows:
        return None
    frame = forecasts.frame(rows)
    said = f"{forecasts.TITLE}. {forecasts.CAPTION} {frame.height} runs; they follow as a table and as CSV."
    return Item(
        id="forecasts", title=forecasts.TITLE, caption=forecasts.CAPTION, sql="", rows=embed(table_rows(frame)),
        file="forecasts", spec=embed(specification(forecasts.draw(frame))), alt=said,
    )  # fmt: skip


def _render(parts: list[dict[str, Any]], title: str, subtitle: str, live: str, running: Item | None = None) -> str:
    template = _environment().from_string(_file("page.html.jinja"))
    return template.render(
        title=clip(title, 120),
        subtitle=subtitle,
        parts=parts,
        running=running,
        configs=embed({name: config(name) for name in ("light", "dark")}),
        css=Markup(_file("page.css")),
        js=Markup(_file("page.js")),
        series=series([part["runs"] for part in parts if part.get("runs") is not None]),
        vega=Markup(vega()),
        live=Markup(live),
        version=__version__,
    )


def _part(query: Query, study: Study | None, number: int) -> dict[str, Any]:
    """One study's summary, sections and what is missing."""
    prefix = f"study-{number}-" if number else ""
    fits = fits_of(query, study)
    state = fits.state
    gaps = controls.gaps(query, study)
    behind = runs(query, study) if study else None
    sections, missing = [], []
    for name in SECTIONS:
        shown = []
        for thing in _things(name):
            make = _figure if isinstance(thing, Figure) else _table
            item = make(thing, query, study, prefix)  # type: ignore[arg-type]
            if item is None:
                missing.append({"title": _title(thing), "why": thing.missing})
            else:
                other = _reducible(thing, query, study, prefix) if isinstance(thing, Figure) else None
                shown.append(replace(item, caveats=fits.beside(thing, item.fits), reducible=other))
        said = gaps if name == "planning" else []
        sections.append({"id": f"{prefix}{name}", "title": HEADINGS[name], "shown": shown, "gaps": said})
    return {
        "id": f"study-{number}",
        "title": study.title if study else "An empty database",
        "counts": study.counts if study else "",
        "axes": state.axes,
        "left_out": study.left_out if study else "",
        "warning": state.warning,
        "summary": summary(query, study),
        "planner": _control(f"{prefix}planner", controls.budgets(query, study)),
        "targets": _control(f"{prefix}targets", controls.targets(query, study), fits.of_curves(query, study)),
        "sections": sections,
        "missing": missing,
        "runs": behind,
        "run_rows": None if behind is None else embed(table_rows(behind.head(MOST))),
        "most": MOST,
    }


def _control(name: str, content: list[dict[str, Any]], caveats: Caveats | None = None) -> dict[str, Any] | None:
    """A control of the page with the data that it reads; none without data."""
    return {"id": name, "content": content, "data": embed(content), "caveats": caveats} if content else None


def _things(section: str) -> Iterator[Figure | Table]:
    """The figures and tables of a section, in order."""
    things: list[Figure | Table] = [*(figure for figure in FIGURES if not figure.reducible_of), *TABLES]
    here = (thing for thing in things if thing.section == section)
    yield from sorted(here, key=lambda thing: (thing.order, isinstance(thing, Table), thing.name))


def _title(thing: Figure | Table) -> str:
    kind = "figure" if isinstance(thing, Figure) else "table"
    return f"{thing.title} (the paper's {kind} {thing.number})" if thing.number else thing.title


def _figure(figure: Figure, query: Query, study: Study | None, prefix: str) -> Item | None:
    drawn = draw(figure, query, study)
    return None if drawn.spec is None else _item(drawn, prefix)


def _reducible(figure: Figure, query: Query, study: Study | None, prefix: str) -> Item | None:
    """The figure that draws the same on an axis of reducible loss."""
    other = next((one for one in FIGURES if one.reducible_of == figure.name), None)
    return _figure(other, query, study, prefix) if other else None


def _item(drawn: Drawn, prefix: str) -> Item:
    figure = drawn.figure
    return Item(
        id=f"{prefix}{figure.name}",
        title=_title(figure),
        sql=drawn.sql,
        fits=drawn.fit_ids,
        file=figure.name,
        caption=" ".join(filter(None, (figure.caption, drawn.seeds))),
        rows=embed(table_rows(drawn.frame)),
        spec=embed(drawn.spec),
        alt=describe(drawn),
    )


def _table(table: Table, query: Query, study: Study | None, prefix: str) -> Item | None:
    from astraios.report.layout import lay_out, to_html

    sql = study.select(table.sql) if study else table.sql
    frame = query(sql)
    if frame.is_empty():
        return None
    grid = lay_out(table, frame)
    return Item(
        id=f"{prefix}table-{table.name}", title=_title(table), sql=sql, file=f"table-{table.name}",
        caption=" ".join([table.caption, *grid.notes]), rows=embed(table_rows(frame)), table=Markup(to_html(grid)),
    )  # fmt: skip


def describe(drawn: Drawn) -> str:
    """The text for those who don't see the chart: its title and caption, how much it shows, and where the data are."""
    figure, frame = drawn.figure, drawn.frame
    said = [f"{figure.title}.", figure.caption]
    if "method" in frame.columns:
        names = frame["method"].drop_nulls().unique(maintain_order=True).to_list()
        said.append(f"{len(names)} tuning methods: {', '.join(names[:12])}.")
    said.append(f"{frame.height} rows; they follow as a table and as CSV.")
    return " ".join(said)


def table_rows(frame: pl.DataFrame) -> dict[str, Any]:
    """The rows of a query for the page: without what names the study, losses and scores as the database has them."""
    frame = frame.drop([name for name in KEYS if name in frame.columns and frame[name].n_unique() <= 1])
    rows = [[_cell(value) for value in row] for row in frame.rows()]
    return {"columns": frame.columns, "rows": rows}


def _cell(value: Any) -> Any:
    """A value as the page can hold it; a loss that diverged to NaN or infinity is written in words."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return clip(value, 200) if isinstance(value, str) else value


def _drawable(value: Any) -> Any:
    """A chart's description with null for what is no number: it can't be drawn."""
    if isinstance(value, dict):
        return {name: _drawable(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_drawable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def embed(value: Any) -> Markup:
    """JSON that can stand in a script element whatever its strings hold."""
    text = json.dumps(_drawable(value), ensure_ascii=False, separators=(",", ":"), default=str, allow_nan=False)
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


@cache
def vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, from the library that also makes the images.

    Bundling takes seconds, so the script is kept in the user's cache folder, by the library's version.
    """
    import vl_convert

    folder = Path(os.environ.get("ASTRAIOS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "astraios")
    kept = folder.expanduser() / f"vega-embed-{version('vl-convert-python')}.js"
    with contextlib.suppress(OSError):
        return kept.read_text(encoding="utf-8")
    bundle = _in_html(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        draft = kept.with_suffix(f".{os.getpid()}")
        draft.write_text(bundle, encoding="utf-8")
        draft.replace(kept)
    return bundle


def _in_html(bundle: str) -> str:
    """The script as it may stand in a script element."""
    return re.sub(r"</(?=script)|<(?=!--)", lambda m: "<\\/" if m[0] == "</" else "\\x3c", bundle, flags=re.IGNORECASE)


def _file(name: str) -> str:
    return (resources.files("astraios.report") / "templates" / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
