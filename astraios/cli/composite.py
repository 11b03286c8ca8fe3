"""The verb about mean scores of one's own."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from astraios.cli import terminal
from astraios.cli.app import Db, Json, app, example
from astraios.cli.complete import values


@app.command(
    epilog=example(
        "astraios composite code humanevalsynthesize-python humanevalfix-python=2",
        "astraios composite mine next-token mutant:accuracy=0.5 --study tiny",
        "astraios composite",
    )
)
def composite(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Of the mean; without one, list all.")] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TASK[:METRIC][=WEIGHT]...", help="What is in it.", autocompletion=values("scored_tasks")
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study",
            metavar="NAME",
            help="A study, or a ladder with all its studies; else all.",
            autocompletion=values("studies"),
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take it away.")] = False,
    db: Db = None,
    as_json: Json = False,
) -> None:
    """Choose the tasks of a mean score: charts and fits take it in place of the built-in one (table composite)."""
    from astraios import store, workflow

    path = store.database_path(db)
    if name is None:
        rows = store.composites(path)
    elif remove:
        store.remove_composite(path, name, study and store.composite_study(path, study))
        rows = store.composites(path)
    else:
        rows = [dataclasses.asdict(row) for row in workflow.compose(path, name, tasks or [], study)]
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows, title="Mean scores")
