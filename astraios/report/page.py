"""The report: one HTML file that needs no network."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import polars as pl
from jinja2 import Environment
from markupsafe import Markup

from astraios import __version__
from astraios.report.base import FIGURES, SECTIONS, TABLES, Figure, Query, Table
from astraios.report.draw import KEYS, Drawn, draw
from astraios.report.runs import MOST, runs, series
from astraios.report.study import FitState, Study, choose, fit_state, reads_fits, studies
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


@dataclass
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
    warning: str = ""
    """Why its numbers are not those of the runs as they are now."""
    notes: list[str] = field(default_factory=list)
    """What its fits warned of."""


def render_page(query: Query, *, title: str = "Scaling report", live: str = "", study: str | None = None) -> str:
    """The whole report as HTML.

    Args:
        query: runs one statement of SQL on the database, read only, and gives its rows.
        title: heading of the page.
        live: JavaScript that the server adds to reload the page; empty for a file.
        study: a study by name (several with commas are joined); by default all, each by itself.
    """
    wanted = choose(query, study) if study else None
    known = [wanted] if wanted else studies(query)
    parts = [_part(query, study, i) for i, study in enumerate(known)] or [_part(query, None, 0)]
    subtitle = "; ".join(f"{study.title}: {study.counts}" for study in known) or "An empty database"
    return _render(parts, title, subtitle, live)


def render_figure(drawn: Drawn) -> str:
    """A page with a single figure."""
    figure = drawn.figure
    part = {
        "id": "figure",
        "title": figure.title,
        "summary": [],
        "missing": [],
        "single": True,
        "sections": [{"id": figure.section, "title": HEADINGS[figure.section], "shown": [_item(drawn, "")]}],
    }
    return _render([part], figure.title, "", "")  # fmt: skip


def _render(parts: list[dict[str, Any]], title: str, subtitle: str, live: str) -> str:
    template = _environment().from_string(_file("page.html.jinja"))
    return template.render(
        title=clip(title, 120),
        subtitle=subtitle,
        parts=parts,
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
    state = fit_state(query, study) if study else FitState("", "")
    notes = _notes(query) if study else {}
    behind = runs(query, study) if study else None
    sections, missing = [], []
    for name in SECTIONS:
        shown = []
        for thing in _things(name):
            make = _figure if isinstance(thing, Figure) else _table
            item = make(thing, query, study, prefix)  # type: ignore[arg-type]
            if item is not None and (item.fits or reads_fits(thing.sql)):
                item.warning = state.warning
                item.notes = sorted({note for fit in item.fits for note in notes.get(fit, ())})
            if item is None:
                missing.append({"title": _title(thing), "why": thing.missing})
            else:
                shown.append(item)
        sections.append({"id": f"{prefix}{name}", "title": HEADINGS[name], "shown": shown})
    return {
        "id": f"study-{number}",
        "title": study.title if study else "An empty database",
        "counts": study.counts if study else "",
        "axes": state.axes,
        "left_out": study.left_out if study else "",
        "warning": state.warning,
        "summary": summary(query, study),
        "planner": _planner(query, study, prefix),
        "sections": sections,
        "missing": missing,
        "runs": behind,
        "run_rows": None if behind is None else embed(table_rows(behind.head(MOST))),
        "most": MOST,
    }


PLANNER = """\
select coalesce(t.title, b.series) as title, b.flops, b.device_hours, b.n_params, b.n_params_low, b.n_params_high,
    b.n_tokens, b.loss, b.new_low, b.new_high, b.sharing
from budget_line b
left join tuning_method t on t.method_id = b.series
where b.loss is not null
order by title, b.flops"""


def _planner(query: Query, study: Study | None, prefix: str) -> dict[str, Any] | None:
    """What the planner of a study needs: a row of budgets of each series."""
    frame = query(study.select(PLANNER) if study else PLANNER)
    if frame.is_empty():
        return None
    series = [
        {"title": clip(str(title)), "sharing": part["sharing"][0], "rows": part.drop("title", "sharing").to_dicts()}
        for (title,), part in frame.group_by(["title"], maintain_order=True)
    ]
    return {"id": f"{prefix}planner", "series": embed(series), "titles": [one["title"] for one in series]}


def _notes(query: Query) -> dict[str, list[str]]:
    """What each fit warned of."""
    found = query("select fit_id, warnings from fit where json_array_length(warnings) > 0").rows()
    return {fit: [clip(note["message"], 300) for note in json.loads(notes)] for fit, notes in found}


def _things(section: str) -> Iterator[Figure | Table]:
    """The figures and tables of a section, in order."""
    things: list[Figure | Table] = [*FIGURES, *TABLES]
    here = (thing for thing in things if thing.section == section)
    yield from sorted(here, key=lambda thing: (thing.order, isinstance(thing, Table), thing.name))


def _title(thing: Figure | Table) -> str:
    kind = "figure" if isinstance(thing, Figure) else "table"
    return f"{thing.title} (the paper's {kind} {thing.number})" if thing.number else thing.title


def _figure(figure: Figure, query: Query, study: Study | None, prefix: str) -> Item | None:
    drawn = draw(figure, query, study)
    return None if drawn.spec is None else _item(drawn, prefix)


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
