"""The verb that draws."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Runs, Study, app, example
from astraios.cli.complete import values


@app.command(
    epilog=example(
        "astraios report",
        "astraios report --figure 3 -o fig3.svg --width column",
        "astraios report --figure projection-loss --reducible -o reducible.svg",
        "astraios report --format markdown -o report.md",
        "astraios report --serve",
    )
)
def report(
    db: Db = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where it goes.")] = None,
    figure: Annotated[
        str | None,
        typer.Option(
            metavar="N",
            help="One figure, by the paper's number or by name; or table-N.",
            autocompletion=values("charts"),
        ),
    ] = None,
    form: Annotated[
        str | None, typer.Option("--format", help="html, svg, png, pdf, json, csv, markdown; tables also latex.")
    ] = None,
    width: Annotated[str, typer.Option(help="column or page, for a single figure.")] = "page",
    scheme: Annotated[str, typer.Option(help="light or dark, for a single figure.")] = "light",
    reducible: Annotated[
        bool, typer.Option("--reducible", help="With --figure projection-loss: the axis is the loss above its floor.")
    ] = False,
    study: Study = None,
    serve: Annotated[bool, typer.Option("--serve", help="Serve the page, refreshed as runs arrive.")] = False,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on; 0 takes a free one.")] = 8765,
    allow_remote: Annotated[bool, typer.Option("--allow-remote", help="Serve to other machines too.")] = False,
    out: Runs = "runs",
) -> None:
    """Draw the page (one HTML file that needs no network), a single figure, or serve it live.

    The live page also has the forecasts of the unfinished runs in --out.
    """
    from astraios import store, workflow

    path = store.database_path(db)
    if serve:
        workflow.serve_report(
            path, host, port, allow_remote, lambda url: terminal.say(f"report: {url} (Ctrl-C ends it)"), out
        )
        return
    request = workflow.ReportRequest(figure, form, width, scheme, study, reducible)
    written = workflow.write_report(path, output, request, lambda line: terminal.say(f"warning: {line}"))
    terminal.say(f"report: {written.resolve()}")
