"""Verbs that help to write a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import app, example


@app.command(name="init-sweep", epilog=example("astraios init-sweep mine.toml"))
def init_sweep(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="The sweep's file; it must not be there yet.")],
) -> None:
    """Write a small sweep to start from, with a schema beside it by which editors complete and check it."""
    from astraios import workflow

    schema = workflow.first_sweep(path)
    terminal.say(f"wrote {path} and {schema}; next: astraios collect {path} --dry-run")


@app.command(epilog=example("astraios schema > sweep.schema.json", "astraios schema --output sweep.schema.json"))
def schema(
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it there instead of printing it.")] = None,
) -> None:
    """Print the JSON Schema of a sweep's file: for an editor's completion, say with `#:schema FILE` on top."""
    from astraios import workflow

    if output is None:
        typer.echo(workflow.schema_text(), nl=False)
    else:
        workflow.write_schema(output)
        terminal.say(f"wrote {output}")
